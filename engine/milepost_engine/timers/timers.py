"""The tick of every minute: cron lines, timers that are due soon, and the sweeper.

    pk                    sk                        item
    T#<minute>#<shard>    <due>#<hash>              a message to send at its moment
    CLOCK                 timers                    last minute whose timers were moved, or handed over
    CLOCK                 timers#<minute>#<shard>   how far a crowded partition has been moved
    CLOCK                 sweep                     moment up to which runs were swept
    CRON                  <fn>#<hash>               a cron line: the next tick
A tick does a bounded amount of work, whatever is due: it sends the first page of each partition itself and leaves the
rest to the work queue, where several Lambdas share it. No part waits for another, or fails because another does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from milepost_engine.ports import Clock, RandomSource, Table
from milepost_engine.store.messages import MessageSender, MoveTimers, SweepRuns
from milepost_engine.store.registry import Registry

from .cron_lines import CronLines
from .cursors import Cursors
from .due_timers import DueTimers
from .watches import Watches

__all__ = ["TICK", "Timers"]

TICK: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Timers:
    """See the module. `tick` may run late, twice or in two places at once."""

    clock: Clock
    crons: CronLines
    due: DueTimers
    watches: Watches

    @classmethod
    def build(
        cls, table: Table, registry: Registry, sender: MessageSender, clock: Clock, random_source: RandomSource
    ) -> Timers:
        cursors = Cursors(table)
        return cls(
            clock,
            CronLines(table, registry, sender),
            DueTimers(table, sender, clock, random_source, cursors),
            Watches(table, registry, sender, clock, cursors),
        )

    async def tick(self, deadline: datetime | None = None) -> None:
        """Do what is due. Past `deadline` nothing new begins, and the next tick continues.

        Each part is tried, whatever happens to the others; then the first error is raised.
        """
        now = self.clock.now()
        problems: list[Exception] = []
        # Timers come last: after an outage there may be more of them than fit before the deadline.
        await _attempt(lambda: self.crons.fire(now), problems)
        await _attempt(lambda: self.watches.sweep(now, deadline), problems)
        await _attempt(lambda: self.due.move(now, deadline), problems)
        if problems:
            raise problems[0]

    async def resume(self, message: MoveTimers | SweepRuns, deadline: datetime | None) -> None:
        """Continue what a tick left to the queue."""
        match message:
            case MoveTimers():
                await self.due.move_rest(message, deadline)
            case SweepRuns():
                await self.watches.sweep_rest(message, deadline)


async def _attempt(part: Callable[[], Awaitable[object]], problems: list[Exception]) -> None:
    try:
        await part()
    except Exception as problem:  # noqa: BLE001 - raised by the tick
        problems.append(problem)
