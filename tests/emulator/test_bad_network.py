"""Somebody else's proxy spoils the calls to somebody else's DynamoDB: the production adapter over real sockets holds.

microburst stands in front of Amazon's DynamoDB Local: writes are throttled, and every so often one is done and its
answer cut off, so that nobody can know.
"""

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from milepost import App, Context, Event, Retries
from tests.contract.conftest import dynamodb_endpoint
from tests.scenarios.rig import PLACE, rig

from .tools import CACHE, _once, _run

__all__ = ["dynamodb_endpoint"]

pytestmark = pytest.mark.emulator

MICROBURST = "microburst==0.10.0"
READY_SECONDS = 30
RULES = [
    {
        "service": "dynamodb",
        "operation": "PutItem",
        "sequence": {"fail": 1, "pass": 4},
        "error": {"code": "ProvisionedThroughputExceededException"},
    },
    {
        "service": "dynamodb",
        "operation": "PutItem",
        "sequence": {"fail": 1, "pass": 9},
        "response": {"abort_frac": 0.0},
    },
    {"service": "dynamodb", "operation": "Query", "sequence": {"fail": 1, "pass": 9}, "reset": True},
]


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
            _control(url, "rules")
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"microburst did not start:\n{log.read_text()[-2000:]}")


def _control(url: str, what: str, body: object = None) -> list[dict[str, object]]:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/_microburst/{what}", content, method="PATCH" if content else "GET")
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.loads(answer.read())


def shop(bodies: list[tuple[str, str]]) -> App:
    app = App("a")

    def body(ctx: Context, name: str) -> Callable[[], str]:
        return lambda: bodies.append((ctx.run_id, name)) or name

    @app.function(id="f", trigger=Event("go"), retries=Retries(attempts=10, first_delay="1s", max_delay="2s"))
    async def f(ctx: Context) -> list[str]:
        found = [await ctx.step.run(name, body(ctx, name)) for name in ("one", "two", "three")]
        await ctx.step.sleep("nap", "20m")
        return found

    return app


async def test_runs_come_to_their_end_behind_a_proxy_that_throttles_and_swallows_answers(
    dynamodb_endpoint: str, tmp_path: Path
):
    bodies: list[tuple[str, str]] = []
    with microburst(dynamodb_endpoint, tmp_path) as url:
        PLACE.set(url)
        async with rig(shop(bodies)) as made:
            _control(url, "rules", RULES)
            for _ in range(5):
                await made.engine.accept({"name": "go"})
            await made.wind(timedelta(minutes=5))
            fired = [str(each["action"]) for each in _control(url, "fired")]
            _control(url, "rules", [])
            await made.wind(timedelta(minutes=40))
            runs = await made.runs()
            assert [(run["status"], run["output"]) for run in runs] == [("Completed", ["one", "two", "three"])] * 5
            # What was swallowed had been saved: its step did not run again.
            assert sorted(bodies) == sorted(set(bodies))
            assert any("ProvisionedThroughput" in action for action in fired), fired
            assert len(set(fired)) >= 2, fired
