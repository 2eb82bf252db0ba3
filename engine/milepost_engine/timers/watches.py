"""The sweeper's part of a tick: puts a watch on every run that has lived for a quarter of an hour.

Most runs have ended by then, and cost the sweeper a part of one read. A tick reads one page of each function's runs and
leaves the rest to the queue: a message says where to continue.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from milepost_engine.core.ids import first_ulid, to_ms
from milepost_engine.ports import Clock, Table
from milepost_engine.store.messages import MessageSender, SweepRuns, WatchRun
from milepost_engine.store.registry import Registry
from milepost_engine.store.run_items import is_live, list_of_runs

from .cursors import Cursors
from .due_timers import BEFORE_FIRST_TICK

__all__ = ["SWEEP_AFTER", "Watches"]

SWEEP_AFTER: Final = timedelta(minutes=15)
_FUNCTIONS_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Watches:
    """See the module."""

    table: Table
    registry: Registry
    sender: MessageSender
    clock: Clock
    cursors: Cursors
    page_size: int = 1000

    async def sweep(self, now: datetime, deadline: datetime | None = None) -> int:
        """Watch the runs that have become a quarter of an hour old since the last sweep; returns how many at once.

        If `deadline` passes, the next tick sweeps the same time again: a run that is watched twice is no harm.
        """
        until = to_ms(now - SWEEP_AFTER)
        cursor = await self.cursors.read("sweep", to_ms(now - SWEEP_AFTER - BEFORE_FIRST_TICK))
        functions = [*(await self.registry.snapshot()).functions]
        watched = 0
        for start in range(0, len(functions), _FUNCTIONS_AT_ONCE):
            if deadline is not None and self.clock.now() >= deadline:
                return watched
            parts = [
                SweepRuns(function_id=function_id, first=first_ulid(cursor), last=first_ulid(until))
                for function_id in functions[start : start + _FUNCTIONS_AT_ONCE]
            ]
            results = await asyncio.gather(*map(self._page, parts))
            watched += sum(found for found, _ in results)
            await self.sender.send(*(rest for _, rest in results if rest is not None))
        await self.cursors.advance("sweep", until)
        return watched

    async def sweep_rest(self, message: SweepRuns, deadline: datetime | None) -> None:
        """Continue with a function's runs until all have been read or `deadline` passes."""
        rest: SweepRuns | None = message
        while rest is not None:
            if deadline is not None and self.clock.now() >= deadline:
                await self.sender.send(rest)
                return
            _, rest = await self._page(rest)

    async def _page(self, part: SweepRuns) -> tuple[int, SweepRuns | None]:
        """Watch the runs of one page: how many there were, and what is left."""
        page = await self.table.query(
            list_of_runs(part.function_id),
            first=part.first,
            last=part.last,
            limit=self.page_size,
            after=part.after or None,
        )
        found = [WatchRun(str(item["sk"]), part.function_id) for item in page.items if is_live(item)]
        await self.sender.send(*found)
        if page.next is None:
            return len(found), None
        return len(found), replace(part, after=page.next)
