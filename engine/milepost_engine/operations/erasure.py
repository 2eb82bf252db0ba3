"""Removes a run or an event everywhere, for good.

    of a run       its waits, its timers, its large values, its records, the events that told of its end, and the event
                   that started it when no other run has that; its header, which lists it, last
    of an event    its place in the list, its item, its large value; on request its ended runs before it

An erasure that stops anywhere is finished by asking again: the header, which leads to all the rest, goes last.
Copies in other runs stay: a parent has its child's result, an invoked run has what it was given, a run that waited for
the event has it. Erase those, too.
What stays, and holds nothing of the payload: for at most 24 hours the hashes of the event's own id and of idempotency
keys, so that a late duplicate starts nothing; a watch of the sweeper that names the run, until a week after it was due.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from milepost_engine.codec import Json, loads
from milepost_engine.core.ids import to_ms
from milepost_engine.core.run import Run
from milepost_engine.ports import Blobs, Key, Table
from milepost_engine.runs.endings import Endings, ending_event_ids
from milepost_engine.store.events import EventStore, list_of_events, place_in_list
from milepost_engine.store.messages import TIMER_SHARDS, timer_partition
from milepost_engine.store.run_items import header_key
from milepost_engine.store.runs import RunStore

from .queries import Queries, RunFilter

__all__ = ["Erasure"]

_RUNS_LOOKED_AT: Final = 20_000
_MOST_RUNS: Final = 1000


@dataclass(frozen=True, slots=True)
class Erasure:
    """See the module. Each call returns how many items and objects it removed."""

    table: Table
    blobs: Blobs
    runs: RunStore
    events: EventStore
    queries: Queries
    endings: Endings

    async def run(self, run: Run) -> int:
        """Remove an ended run."""
        await self.endings.close_waits(run)
        erased = await self._timers(run)
        for event_id in ending_event_ids(run):
            erased += await self.event(event_id)
        for event_id in run.event_ids:
            if not await self._shared(event_id, run.run_id):
                erased += await self.event(event_id)
        erased += await self.blobs.delete_prefix(f"runs/{run.run_id}/")
        keys = [*await self.runs.record_keys(run), header_key(run)]
        for key in keys:
            await self.table.delete(key)
        return erased + len(keys)

    async def event(self, event_id: str) -> int:
        """Remove an event; 0 when there is none."""
        key = Key(f"E#{event_id}", "E")
        self.events.forget(event_id)
        erased = 0
        # The item before the object that it refers to: nobody reads a half of an event. What leads to the rest of it
        # goes last.
        if (item := await self.table.get(key)) is not None:
            place = place_in_list(int(item["received_at"]), event_id)
            await self.table.delete(Key(list_of_events(str(item["event_name"])), place))
            await self.table.delete(key)
            erased += 1
        return erased + await self.blobs.delete_prefix(f"events/{event_id}")

    async def runs_of(self, event_id: str) -> list[str]:
        """The ids of the runs that an event started, its replays among them."""
        return (await self._runs(event_id, _MOST_RUNS))[0]

    async def _shared(self, event_id: str, run_id: str) -> bool:
        """Whether another run has the event; when too many runs came after it to look at all, it is kept."""
        run_ids, cut = await self._runs(event_id, 2)
        return cut or any(other != run_id for other in run_ids)

    async def _runs(self, event_id: str, limit: int) -> tuple[list[str], bool]:
        event = await self.events.load(event_id)
        where = RunFilter(event_id=event_id, since=event.received_at if event else None)
        listed = await self.queries.list_runs(where, limit=limit, scan_limit=_RUNS_LOOKED_AT)
        rows = cast("list[Mapping[str, Json]]", listed["runs"])
        return [str(row["run_id"]) for row in rows], bool(listed["cut"])

    async def _timers(self, run: Run) -> int:
        """The timers of the moments that the run's records name."""
        erased = 0
        for minute in sorted({to_ms(moment) // 60_000 for moment in _moments(run)}):
            for shard in range(TIMER_SHARDS):
                for item in (await self.table.query(timer_partition(minute, shard))).items:
                    body = cast("Mapping[str, Json]", loads(str(item["body"])))
                    if body.get("run") == run.run_id:
                        await self.table.delete(Key(str(item["pk"]), str(item["sk"])))
                        erased += 1
        return erased


def _moments(run: Run) -> list[datetime]:
    """When something of a run was due."""
    given = [run.start_at, run.start_by, run.finish_by]
    given += [op.due_at for plan in run.plans for op in plan.ops]
    given += [tried.next_at for tries in run.failures.values() for tried in tries]
    return [moment for moment in given if moment is not None]
