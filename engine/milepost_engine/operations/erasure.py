"""Erases a run or an event permanently.

    of a run       its waits, its timers, its large values, its records, the events about its end, and the event that
                   started it if no other run has it; last its header, which lists it
    of an event    its place in the list, its item, its large value; on request its ended runs before that

If an erasure is interrupted, repeat it: the header, which leads to everything else, is deleted last.
Copies in other runs stay: a parent has its child's result, an invoked run has its input, a run that waited for the
event has a copy. Erase those too.
These stay and contain nothing of the payload: for at most 24 hours the hashes of the event's own id and of idempotency
keys, so a late duplicate starts nothing; a watch of the sweeper that names the run, until a week after it was due.
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

_MAX_RUNS_SCANNED: Final = 20_000
_MOST_RUNS: Final = 1000


@dataclass(frozen=True, slots=True)
class Erasure:
    """Each method returns how many items and objects it removed."""

    table: Table
    blobs: Blobs
    runs: RunStore
    events: EventStore
    queries: Queries
    endings: Endings

    async def run(self, run: Run) -> int:
        """Erase an ended run."""
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
        """Erase an event; 0 if there is none."""
        key = Key(f"E#{event_id}", "E")
        self.events.forget(event_id)
        erased = 0
        # The item goes before the object it refers to, so no reader gets half an event. The list entry goes before the
        # item that leads to it.
        if (item := await self.table.get(key)) is not None:
            place = place_in_list(int(item["received_at"]), event_id)
            await self.table.delete(Key(list_of_events(str(item["event_name"])), place))
            await self.table.delete(key)
            erased += 1
        return erased + await self.blobs.delete_prefix(f"events/{event_id}")

    async def runs_of(self, event_id: str) -> list[str]:
        """The ids of the runs that an event started, including replays."""
        return (await self._runs(event_id, _MOST_RUNS))[0]

    async def _shared(self, event_id: str, run_id: str) -> bool:
        """Whether another run has the event. If too many runs came later to check them all, the answer is yes."""
        run_ids, cut = await self._runs(event_id, 2)
        return cut or any(other != run_id for other in run_ids)

    async def _runs(self, event_id: str, limit: int) -> tuple[list[str], bool]:
        event = await self.events.load(event_id)
        where = RunFilter(event_id=event_id, since=event.received_at if event else None)
        listed = await self.queries.list_runs(where, limit=limit, scan_limit=_MAX_RUNS_SCANNED)
        rows = cast("list[Mapping[str, Json]]", listed["runs"])
        return [str(row["run_id"]) for row in rows], bool(listed["cut"])

    async def _timers(self, run: Run) -> int:
        """Delete the run's timers, found by the moments in its records."""
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
    given += [attempt.next_at for attempts in run.failures.values() for attempt in attempts]
    return [moment for moment in given if moment is not None]
