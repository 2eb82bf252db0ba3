"""Decides which log lines of a function reach the log, so that replaying does not repeat them.

muted   history is being replayed: these lines were written when it happened
live    new code runs: lines pass at once
held    a step of this invocation has finished and the function runs on; whether these lines will be written by
        a later invocation is known only once this one is decided: then they are released or dropped
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
    """The gate that one invocation's log lines go through."""

    __slots__ = ("_gate", "_held")

    def __init__(self) -> None:
        self._gate = _Gate.MUTED
        self._held: list[Callable[[], None]] = []

    def write(self, line: Callable[[], None]) -> None:
        """Pass, keep or swallow one line."""
        if self._gate is _Gate.LIVE:
            line()
        elif self._gate is _Gate.HELD:
            self._held.append(line)

    @property
    def muted(self) -> bool:
        return self._gate is _Gate.MUTED

    def open(self) -> None:
        """New code begins; what was held is written first."""
        self._gate = _Gate.LIVE
        held, self._held = self._held, []
        for line in held:
            line()

    def hold(self) -> None:
        """The function runs on after a finished step."""
        self._gate = _Gate.HELD

    def drop(self) -> None:
        """A later invocation will write what was held."""
        self._held.clear()
