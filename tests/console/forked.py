"""Dev servers that can be killed by the hundred: each is a fork of a process which has imported everything."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from .process import ROOT, DevProcess


class Forked(DevProcess):
    """A dev server that is forked from a process which has imported everything."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        super().__init__(folder, *arguments, LEDGER=str(folder / "ledger.txt"))
        command = [sys.executable, "-m", "tests.console.zygote"]
        pipe = subprocess.PIPE
        self.zygote = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdin=pipe, stdout=pipe, text=True)
        self.pid = 0

    def _tell(self, line: str) -> str:
        assert self.zygote.stdin
        assert self.zygote.stdout
        self.zygote.stdin.write(line + "\n")
        self.zygote.stdin.flush()
        return self.zygote.stdout.readline().strip()

    def spawn(self) -> None:
        options = ["--port", str(self.port), "--db", str(self.folder / "dev.db"), *self.arguments]
        self.pid = int(self._tell(shlex.join(["start", str(self.folder / "server.log"), "dev", *options])))

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        assert self._tell(f"reap {self.pid}") == "reaped"
        self.pid = 0

    def close(self) -> None:
        if self.pid:
            self.kill()
        assert self.zygote.stdin
        assert self.zygote.stdout
        self.zygote.stdin.close()
        self.zygote.wait(60)
        self.zygote.stdout.close()
