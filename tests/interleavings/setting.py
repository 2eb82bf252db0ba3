"""What an exploration starts from: the number of workers, the faults that may happen, and the run just created."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from .stories import Send, Story
from .table import Items

__all__ = ["CALL", "FAULTS", "START", "TICK", "WATCH", "Base", "Faults", "Sent", "Setup"]

CALL: Final = '{"t":"call"'
"""How the text of an invocation that was handed over begins."""
TICK: Final = '{"t":"tick"'
"""How the text of a tick of the timers begins."""
WATCH: Final = '{"t":"watch"'
"""How the text of the sweeper's message begins."""
START: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Faults:
    """How often each thing may go wrong in one schedule.

    `twice`    a message is delivered a second time and looks like the first delivery each time
    `again`    a message is delivered a second time, marked as redelivered, while its first worker is at work or done
    `crashes`  a worker loses everything in its memory, and its messages are redelivered
    `lost`     a write takes effect, but its caller sees an error
    `late`     a message that is due is overtaken by time: messages due later are delivered first
    `torn`     a read of the run's records is served in two pages, and anything may happen between them
    `dropped`  a worker loses everything in its memory, and its messages are never delivered again
    """

    twice: int = 0
    again: int = 0
    crashes: int = 0
    lost: int = 0
    late: int = 0
    torn: int = 0
    dropped: int = 0

    def counts(self) -> dict[str, int]:
        """How often each fault may happen, by name."""
        return {name: getattr(self, name) for name in self.__slots__}


FAULTS: Final[Mapping[str, Faults]] = {
    "none": Faults(),
    "twice": Faults(twice=1),
    "again": Faults(again=1),
    "crash": Faults(crashes=1),
    "lost": Faults(lost=1),
    "late": Faults(late=1),
    "torn": Faults(torn=1),
    "dropped": Faults(dropped=1),
    "crash2": Faults(crashes=2),
    "crash+twice": Faults(crashes=1, twice=1),
    "crash+late": Faults(crashes=1, late=1),
}


@dataclass(frozen=True, slots=True)
class Setup:
    """What is explored.

    `every_call`: threads are switched before each call of a port, not only before those about the run.
    `reduced`: of schedules that lead to the same, one is run; off, the search takes longer and finds the same.
    `conditions`: off, the table ignores them, to see that the explorer finds what breaks then.
    """

    story: Story
    faults: Faults = field(default_factory=Faults)
    workers: int = 2
    every_call: bool = False
    reduced: bool = True
    conditions: bool = True


@dataclass(frozen=True, slots=True)
class Sent:
    """A message in the queue. `name` is for words only; `waited_for`: time does not pass before it is delivered.

    `about_run`: it is about the explored run.
    """

    name: str
    body: str
    due: datetime
    about_run: bool = True
    receives: int = 0
    copy: str = ""
    waited_for: bool = True

    @property
    def is_call(self) -> bool:
        """Whether it is an invocation that was handed over to the app, and no message of the work queue."""
        return self.body.startswith(CALL)

    @property
    def is_check(self) -> bool:
        """Whether it is the sweeper's, or a tick: what rescues runs is not what is dropped."""
        return self.is_tick or self.body.startswith(WATCH)

    @property
    def is_tick(self) -> bool:
        """Whether it is a tick of the timers, and no message of the work queue."""
        return self.body.startswith(TICK)

    @property
    def identity(self) -> tuple[str, int, str]:
        """What tells it from every other message: its text has the id under which it was sent."""
        return self.body, self.receives, self.copy

    @property
    def rank(self) -> tuple[datetime, str, int, str, str]:
        """A place in an order of messages that does not depend on the order in which they were sent."""
        return self.due, self.name, self.receives, self.copy, self.body

    @property
    def label(self) -> str:
        return f"{self.name}{', delivery ' + str(self.receives) if self.receives > 1 else ''}{self.copy}"

    def returned(self) -> Sent:
        """The message after its handling has failed: it comes back at any time."""
        return replace(self, waited_for=False)


@dataclass(frozen=True, slots=True)
class Base:
    """The world at a moment at which all workers are idle: right after the run was created, or later.

    Nothing is under way then, so that a schedule may start here as well as where it came from. `names` counts the
    messages by name, `left` the faults that may still happen.
    """

    run_id: str
    function_id: str
    items: Items
    queue: tuple[Sent, ...]
    snapshot: Any
    now: datetime
    outside: tuple[Send, ...]
    names: Mapping[str, int]
    left: Mapping[str, int]
    used: frozenset[str] = frozenset()
    begun: Mapping[str, int] = field(default_factory=dict)
    excused: int = 0
