"""Decides which log lines of a function are written, so that a replay does not repeat them.

muted   history is being replayed: these lines were written the first time
live    new code is running: lines are written at once
held    a step of this invocation has finished and the function continues. Only the answer of the invocation decides
        whether a later one writes these lines again: then they are written or dropped
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

__all__ = ["LogGate"]


class _Gate(Enum):
    MUTED = "muted"
    LIVE = "live"
    HELD = "held"


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
        elif self._gate is _Gate.HELD:
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

    def hold(self) -> None:
        """The function continues after a finished step."""
        self._gate = _Gate.HELD

    def drop(self) -> None:
        """Drop held lines: a later invocation writes them."""
        self._held.clear()
