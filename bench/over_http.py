"""What a user of `milepost dev` gets: over HTTP on a kept-alive connection, with the terminal on, judged by the bodies.

The last step of each run writes a line to a file, outside the engine; times run from the request to that line.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pty
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.table import show

ROOT = Path(__file__).parents[1]
Output = Literal["terminal", "file"]
_POLL_SECONDS = 0.002
_PATIENCE_SECONDS = 120


@dataclass
class Server:
    """A running `milepost dev` and a connection to it."""

    connection: http.client.HTTPConnection
    ledger: Path

    def send(self, events: int) -> float:
        """Send events in one request; the milliseconds until the answer."""
        began = time.perf_counter()
        body = json.dumps([{"name": "ledger", "data": {"sent": time.time()}}] * events)
        self.connection.request("POST", "/e/bench", body, {"content-type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        return (time.perf_counter() - began) * 1000

    def await_lines(self, lines: int) -> list[str]:
        """The ledger, once it has so many lines."""
        patience = time.monotonic() + _PATIENCE_SECONDS
        while (text := self.ledger.read_text("ascii")).count("\n") < lines:
            assert time.monotonic() < patience, f"only {len(text.splitlines())} of {lines} runs came to their last step"
            time.sleep(_POLL_SECONDS)
        return text.splitlines()


@contextlib.contextmanager
def dev_server(output: Output) -> Iterator[Server]:
    """`milepost dev` as a user starts it, printing to a terminal or to a file."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        ledger = Path(folder) / "ledger"
        ledger.touch()
        port = _free_port()
        command = [
            str(Path(sys.executable).parent / "milepost"), "dev", str(ROOT / "bench" / "functions.py"),
            "--port", str(port), "--db", str(Path(folder) / "dev.db"), "--no-reload",
        ]  # fmt: skip
        environment = {**os.environ, "LEDGER": str(ledger)}
        printed = _terminal(stack) if output == "terminal" else stack.enter_context((Path(folder) / "out").open("wb"))
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=printed, stderr=subprocess.STDOUT)
        try:
            yield Server(_connect(port), ledger)
        finally:
            process.terminate()
            process.wait(20)


def over_http(output: Output) -> None:
    """Latency of one event at a time, then the rate of a thousand at once."""
    with dev_server(output) as server:
        answers, ends = [], []
        for number in range(1, 141):
            answers.append(server.send(1))
            sent, ran = server.await_lines(number)[-1].split()
            ends.append((float(ran) - float(sent)) * 1000)
        began = time.perf_counter()
        for _ in range(10):
            server.send(100)
        server.await_lines(140 + 1000)
        took = time.perf_counter() - began
    where = f"`milepost dev`, printing to a {output}"
    show(f"{where}: request to answer, one event", _percentiles(answers[40:]), "p50 / p99 of 100")
    show(f"{where}: request to the body of the third step", _percentiles(ends[40:]), "p50 / p99 of 100")
    show(f"{where}: 1,000 three-step runs", f"{3000 / took:,.0f} steps/s", "from the first request to the last body")


def _percentiles(times: list[float]) -> str:
    times = sorted(times)
    return f"{times[len(times) // 2]:.2f} / {times[-2]:.2f} ms"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _connect(port: int) -> http.client.HTTPConnection:
    """A connection to a server that is starting."""
    patience = time.monotonic() + _PATIENCE_SECONDS
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        try:
            connection.request("GET", "/health")
            answer = connection.getresponse()
            answer.read()
        except OSError:
            answer = None
        if answer is not None and answer.status == 200:
            return connection
        assert time.monotonic() < patience, "the dev server did not start"
        time.sleep(0.05)


def _terminal(stack: contextlib.ExitStack) -> int:
    """A terminal that somebody reads."""
    reader, writer = pty.openpty()

    def read() -> None:
        with contextlib.suppress(OSError):
            while os.read(reader, 65_536):
                pass

    threading.Thread(target=read, daemon=True).start()
    stack.callback(os.close, writer)
    return writer
