"""Where the engine tells what happened, for live views, metrics and logs. It never decides anything."""

from __future__ import annotations

from typing import Protocol

from .core.inputs import Call
from .core.run import Record, Run
from .store.events import Event

__all__ = ["Observer", "Silent"]


class Observer(Protocol):
    """Called after the fact was saved, on the engine's own loop; must not block and must not raise."""

    def event_received(self, event: Event, started: tuple[str, ...], skipped: dict[str, str]) -> None:
        """`started` are run ids; `skipped` says for a function that listens why it was not started."""
        ...

    def run_started(self, run: Run) -> None: ...

    def invoked(self, run: Run, call: Call) -> None:
        """User code is about to be called."""
        ...

    def recorded(self, run: Run, record: Record) -> None:
        """A closed step, plan, failed attempt or end was saved; `run` has it already."""
        ...

    def rescued(self, run: Run) -> None:
        """The sweeper found overdue work and asked for it again."""
        ...


class Silent:
    """Tells nobody."""

    def event_received(self, event: Event, started: tuple[str, ...], skipped: dict[str, str]) -> None: ...

    def run_started(self, run: Run) -> None: ...

    def invoked(self, run: Run, call: Call) -> None: ...

    def recorded(self, run: Run, record: Record) -> None: ...

    def rescued(self, run: Run) -> None: ...
