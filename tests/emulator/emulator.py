"""Runs the emulator as a process group of its own, on a free port of the loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from .tools import Tools

ACCOUNT = "000000000042"
"""The emulator takes a 12-digit access key for the account's id."""
REGION = "us-east-1"
_READY_SECONDS = 30


@dataclass(frozen=True)
class Emulator:
    """A running emulator; `environment` is what its clients need, `proxy` what its Lambdas call instead of it."""

    url: str
    log: Path
    environment: dict[str, str]
    proxy: str | None = None

    def output(self) -> str:
        """The end of its log, for the message of a test that failed."""
        return self.log.read_text(errors="replace")[-6000:]


@contextlib.contextmanager
def running(
    tools: Tools,
    folder: Path,
    *,
    iam: bool = False,
    proxy: Callable[[str], AbstractContextManager[str]] | None = None,
) -> Iterator[Emulator]:
    """Start it, wait until it answers, stop it with everything that it started.

    With `iam`, permissions count. `proxy` opens one in front of the emulator, for the calls of its Lambdas.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    url = f"https://localhost:{port}" if iam else f"http://127.0.0.1:{port}"
    log = folder / "emulator.log"
    with log.open("wb") as output, proxy(url) if proxy else contextlib.nullcontext() as between:
        process = subprocess.Popen(
            [str(tools.python), "-W", "ignore", str(Path(__file__).with_name("launcher.py"))],
            env=_own_environment(folder, port, between or url, iam=iam),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            certificate = folder / "ministack-tls" / "server.crt"
            _wait_until_ready(process, port, log, secure=iam)
            yield Emulator(url, log, _client_environment(url, certificate if iam else None), between)
        finally:
            # Its workers ignore a polite end now and then; the group is ours alone.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            shutil.rmtree(folder / "ministack-tls", ignore_errors=True)


def _own_environment(folder: Path, port: int, url: str, *, iam: bool) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "PYTHON", "REQUESTS_", "MILEPOST_", "COV_")) and name != "VIRTUAL_ENV"
    }
    own = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "TMPDIR": str(folder),
        "HOME": str(folder),
        # Requests to an HTTP API carry no key that would name the account.
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "secret",
        "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "1",
    }
    if iam:
        # Lambdas inherit this; the emulator itself must not trust only its own certificate (AWS_CA_BUNDLE).
        certificate = folder / "ministack-tls" / "server.crt"
        own |= {"AUTH": "true", "USE_SSL": "1", "EMULATOR_CERTIFICATE": str(certificate)}
    return inherited | own


def _client_environment(url: str, certificate: Path | None) -> dict[str, str]:
    common = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }
    if certificate is not None:
        common |= {"AWS_CA_BUNDLE": str(certificate), "NODE_EXTRA_CA_CERTS": str(certificate)}
    return common


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path, *, secure: bool) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if secure:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            else:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_ministack/health", timeout=1).close()
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
            continue
        return
    raise RuntimeError(f"the emulator did not start; its log ends with:\n{log.read_text()[-3000:]}")
