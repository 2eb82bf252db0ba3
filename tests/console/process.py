"""`milepost dev` in a process of its own, with its state in one folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from .served import until

ROOT = Path(__file__).parents[2]
MILEPOST = Path(sys.executable).parent / "milepost"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class DevProcess:
    """A dev server that can be started, stopped, killed and asked."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.arguments = arguments
        self.environment = {**os.environ, "SHOP_FOLDER": str(folder), **environment}
        self.process: subprocess.Popen[bytes] | None = None
        self.split = False
        """Whether standard error is kept apart from the log, in `server.err`."""

    def start(self) -> None:
        self.spawn()
        until(self.is_up, seconds=30, details=self.log)

    def spawn(self) -> None:
        command = [str(MILEPOST), "dev", "--port", str(self.port), "--db", str(self.folder / "dev.db"), *self.arguments]
        with (self.folder / "server.log").open("ab") as log, (self.folder / "server.err").open("ab") as errors:
            err = errors if self.split else log
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=err)

    def is_up(self) -> bool:
        try:
            return self.call("/health")["status"] == 200
        except OSError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def log(self) -> str:
        return (self.folder / "server.log").read_text()[-3000:]

    def call(self, path: str, body: object = None) -> dict[str, Any]:
        headers = {"content-type": "application/json", "x-milepost": "1"}
        sent = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, sent, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def send(self, name: str, data: dict[str, Any] | None = None) -> str:
        return self.call("/e/dev", {"name": name, "data": data or {}})["ids"][0]

    def runs(self, **where: str) -> list[dict[str, Any]]:
        query = "&".join(f"{key}={value}" for key, value in where.items())
        return self.call(f"/api/runs?limit=500&{query}")["runs"]

    def run(self, run_id: str) -> dict[str, Any]:
        return self.call(f"/api/runs/{run_id}")

    def only_run(self, **where: str) -> dict[str, Any]:
        """The one run that there is, once it is there."""
        until(lambda: self.runs(**where), details=self.log)
        [row] = self.runs(**where)
        return self.run(row["run_id"])
