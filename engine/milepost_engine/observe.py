"""The port that the engine reports to, for live views, metrics and logs. It never decides anything."""

from __future__ import annotations

from typing import Protocol

from .core.inputs import Call
from .core.run import Record, Run
from .store.events import Event

__all__ = ["Observer", "Silent"]


class Observer(Protocol):
    """Called on the engine's event loop after the fact was saved; must not block and must not raise."""

    def event_received(self, event: Event, started: tuple[str, ...], skipped: dict[str, str]) -> None:
        """`started` lists run ids; `skipped` gives, by function, why a function that listens was not started."""
        ...

    def run_started(self, run: Run) -> None: ...

    def invoked(self, run: Run, call: Call) -> None:
        """User code is about to be called."""
        ...

    def recorded(self, run: Run, record: Record) -> None:
        """A closed step, plan, failed attempt or end was saved; `run` already includes it."""
        ...

    def rescued(self, run: Run) -> None:
        """The sweeper found overdue work and asked for it again."""
        ...


class Silent:
    """An observer that does nothing."""

    def event_received(self, event: Event, started: tuple[str, ...], skipped: dict[str, str]) -> None: ...

    def run_started(self, run: Run) -> None: ...

    def invoked(self, run: Run, call: Call) -> None: ...

    def recorded(self, run: Run, record: Record) -> None: ...

    def rescued(self, run: Run) -> None: ...
