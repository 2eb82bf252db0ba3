"""Decides which log lines of a function are written, so that a replay does not repeat them.

muted   history is being replayed: these lines were written the first time
live    new code is running: lines are written at once
held    a step of this invocation has finished and the function continues. Only the answer of the invocation decides
        whether a later one writes these lines again: then they are written or dropped
again   the next attempt of a step that failed reaches it again. Lines before it were written; they are dropped when it
        runs, and written if the function ends instead
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from enum import Enum
from typing import Final

__all__ = ["LogGate", "WrittenLines"]

_MAX_RUNS: Final = 1000
_MAX_LINES: Final = 10_000


class WrittenLines:
    """The lines of runs that this process has written, so that calls of a run at the same time write each line once.

    Steps that end together are looked at by several calls, of which each is the first to reach the code after them.
    Bounded: of runs and lines beyond the bounds, a line may be repeated.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: OrderedDict[str, set[Hashable]] = OrderedDict()

    def begin(self, run_id: str) -> None:
        """A run starts: nothing of it is written."""
        with self._lock:
            self._runs.pop(run_id, None)

    def claim(self, run_id: str, line: Hashable) -> bool:
        """Whether the caller is to write a line: nobody has claimed it before."""
        with self._lock:
            lines = self._runs.setdefault(run_id, set())
            self._runs.move_to_end(run_id)
            if len(self._runs) > _MAX_RUNS:
                self._runs.popitem(last=False)
            if line in lines:
                return False
            if len(lines) < _MAX_LINES:
                lines.add(line)
            return True


class _Gate(Enum):
    MUTED = "muted"
    LIVE = "live"
    HELD = "held"
    AGAIN = "again"


class LogGate:
    """The gate for the log lines of one invocation."""

    __slots__ = ("_gate", "_held")

    def __init__(self) -> None:
        self._gate = _Gate.MUTED
        self._held: list[Callable[[], None]] = []

    def write(self, line: Callable[[], None]) -> None:
        """Write, hold or drop one line."""
        if self._gate is _Gate.LIVE:
            line()
        elif self._gate is not _Gate.MUTED:
            self._held.append(line)

    @property
    def muted(self) -> bool:
        """Whether lines are dropped at present."""
        return self._gate is _Gate.MUTED

    def open(self) -> None:
        """New code starts; held lines are written first."""
        self._gate = _Gate.LIVE
        held, self._held = self._held, []
        for line in held:
            line()

    def run(self) -> None:
        """The body of a step starts."""
        if self._gate is _Gate.AGAIN:
            self.drop()
        self.open()

    def hold(self, *, again: bool = False) -> None:
        """The function continues after a finished step, or reaches one again whose attempt has failed."""
        self._gate = _Gate.AGAIN if again else _Gate.HELD

    def drop(self) -> None:
        """Drop held lines: a later invocation writes them."""
        self._held.clear()
