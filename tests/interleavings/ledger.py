"""What the bodies of steps report, outside the engine, and the promises that are judged by it.

 1. Once the result of a step is recorded, no body of it begins.
 2. A step has at most one body at a time. Two deliveries of one message are excused, unless both look like the first:
    nobody can tell a worker that still runs from one that has crashed.
 3. No body begins after the message's worker has read that the run has ended.
 4. A run ends once.
 5. What the run returns was recorded.
 6. A run that has not ended has something outstanding.
 7. No child outlives its cancelled parent, and no step of a child begins after its parent was cancelled. (The children
    of the stories have one step each.)

A body counts as running from its beginning until its result or its failure is recorded, or its message is done with, or
its worker has crashed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Body", "Finding", "Ledger", "Performer", "Witness", "perform", "work"]


class Performer(Protocol):
    """The handling of one delivery of a message by one worker."""

    saw_end: bool

    @property
    def label(self) -> str: ...

    @property
    def worker_name(self) -> str: ...

    @property
    def body(self) -> str: ...

    @property
    def redelivered(self) -> bool: ...


@dataclass(frozen=True)
class Finding:
    """A promise that was broken. `where` names what took part, so that equal findings are reported once."""

    faults: str
    rule: str
    where: tuple[str, ...]

    def __str__(self) -> str:
        return f"[{self.faults}] {self.rule}: {'; '.join(self.where)}"


@dataclass(frozen=True, eq=False)
class Body:
    """A body that runs."""

    name: str
    number: int
    by: Performer


@dataclass
class Ledger:
    """See the module. `begun` counts the bodies of each step."""

    begun: dict[str, int] = field(default_factory=dict)
    running: list[Body] = field(default_factory=list)
    broken: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    excused: int = 0

    def begin(self, name: str, by: Performer, *, recorded: bool) -> Body:
        """A body begins; `recorded` says whether its step has a result."""
        self._judge(name, by, recorded=recorded)
        count = self.begun[name] = self.begun.get(name, 0) + 1
        body = Body(name, count, by)
        self.running.append(body)
        return body

    def record(self, name: str) -> None:
        """The result or a failure of a step was recorded: its bodies are over."""
        self.running = [body for body in self.running if body.name != name]

    def leave(self, by: Performer) -> None:
        """A message is done with, or its worker has crashed."""
        self.running = [body for body in self.running if body.by is not by]

    def breaks(self, rule: str, *where: str) -> None:
        self.broken.append((rule, where))

    def _judge(self, name: str, by: Performer, *, recorded: bool) -> None:
        if recorded:
            self.breaks("a body begins although its step is recorded", f"step {name}", f"by {by.label}")
        elif others := [body for body in self.running if body.name == name and not self._is_excused(body.by, by)]:
            first = others[0].by
            where = "same worker" if first.worker_name == by.worker_name else "another worker"
            self.breaks(
                "two bodies of one step", f"step {name}", f"first by {first.label}", f"second by {by.label}, {where}"
            )
        elif by.saw_end:
            self.breaks("a body begins after its worker saw the run ended", f"step {name}", f"by {by.label}")

    def _is_excused(self, first: Performer, second: Performer) -> bool:
        excused = first.body == second.body and (first.redelivered or second.redelivered)
        self.excused += excused
        return excused


class Witness(Protocol):
    """Where a body reports; its value is what the body returns."""

    async def body(self, name: str, *, fails: bool) -> str: ...


_WITNESS: list[Witness] = []


def perform(witness: Witness) -> None:
    """Let all bodies report to a witness from now on."""
    _WITNESS[:] = [witness]


async def work(name: str, *, fails: bool = False) -> str:
    """The body of every step of every story. `fails` raises after the beginning."""
    return await _WITNESS[-1].body(name, fails=fails)
