"""Somebody else's proxy that spoils calls to AWS on request: microburst, in a venv of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .tools import CACHE, _once, _run

__all__ = ["control", "microburst"]

MICROBURST = "microburst==0.10.0"
READY_SECONDS = 30


@contextmanager
def microburst(upstream: str, folder: Path) -> Iterator[str]:
    """The proxy's URL while it runs, in a venv of its own."""
    venv = CACHE / "microburst"
    python = venv / "bin" / "python"

    def make() -> None:
        _run([sys.executable, "-m", "venv", str(venv)])
        _run([str(python), "-m", "pip", "install", "--quiet", MICROBURST])

    CACHE.mkdir(exist_ok=True)
    _once(venv / ".installed", MICROBURST + sys.version, make)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AWS_"))}
    with (folder / "microburst.log").open("wb") as log:
        process = subprocess.Popen(
            [str(venv / "bin" / "microburst"), "--host", "127.0.0.1", "--port", str(port), "--upstream", upstream],
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=environment, cwd=folder,
        )  # fmt: skip
        try:
            _wait(process, url, folder / "microburst.log")
            yield url
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            control(url, "rules")
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"microburst did not start:\n{log.read_text()[-2000:]}")


def control(url: str, what: str, body: object = None) -> list[dict[str, object]]:
    """Read the `rules`, or set them; read what was `fired`."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/_microburst/{what}", content, method="POST" if content else "GET")
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.loads(answer.read())
