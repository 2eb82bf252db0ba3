"""Runs the `milepost` command inside the test's process, against a real server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from milepost_console.cli.main import main


@dataclass(frozen=True)
class Result:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Command:
    """`command("runs", "list")` with the server's address added."""

    url: str
    capture: pytest.CaptureFixture[str]

    def __call__(self, *words: str, url: str | None = None) -> Result:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--url", self.url if url is None else url])
        return self._result(ended.value.code)

    def bare(self, *words: str) -> Result:
        """Without `--url`."""
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        return self._result(ended.value.code)

    def _result(self, code: object) -> Result:
        assert isinstance(code, int)
        said = self.capture.readouterr()
        return Result(code, said.out, said.err)
