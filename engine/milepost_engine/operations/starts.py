"""Starts one function by its id, whatever its triggers: by hand, or by a caller who waits for the result.

Asked again with the same event id, or with the same id of the caller, it gives the same run:

    caller      start, id "order-7" ─► claims the id for event A ─► stores A ─► creates the run ─► sends its message
    again       start, id "order-7" ─► finds event A ─────────────► finds A ──► finds the run ───► sends it once more

Whoever stops between two of these is completed by the next who asks, because all of it follows from the event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from milepost.protocol import EventName
from milepost_engine.codec import Json
from milepost_engine.core.ids import derived_ulid, short_hash, to_ms
from milepost_engine.intake.intake import Intake
from milepost_engine.ports import Absent, AnyOf, Clock, ConditionFailed, Equals, Item, Key, LessThan, Table
from milepost_engine.store.events import Event, EventStore
from milepost_engine.store.manifest import FunctionSpec, too_long_a_chain
from milepost_engine.store.registry import Registry
from milepost_engine.store.runs import RunStore

from .actions import OperationError, check_new_data
from .ticks import tick_by_hand

__all__ = ["MAX_CALLER_ID_CHARS", "Starts"]

MAX_CALLER_ID_CHARS: Final = 1024
_CALLER_ID: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Starts:
    """See the module."""

    table: Table
    events: EventStore
    runs: RunStore
    registry: Registry
    intake: Intake
    clock: Clock

    async def start(
        self,
        function_id: str,
        data: Mapping[str, Json],
        event_id: str,
        *,
        caller_id: str = "",
        chain: int = 0,
        at: datetime | None = None,
    ) -> str:
        """Start a function; returns the id of its run.

        A function with a cron line gets a tick of it, due at `at`, by default now. One that events start as well gets
        a tick only if `at` is given or there is no data.

        Raises OperationError for a function that is not registered, data that an event could not bring, `at` without a
        cron line, an idempotency key of the function that another run has, and a `chain` (see `Event`) over its limit.
        """
        spec = await self._spec(function_id)
        now = self.clock.now()
        if why := too_long_a_chain(spec, chain):
            raise OperationError("MP309", f"Function {function_id!r} was not started: {why}.")
        name, brought = EventName.INVOKED.value, data
        if (tick := tick_by_hand(spec, data, at, now)) is not None:
            name, brought = EventName.CRON.value, {**data, **tick}
        check_new_data(f"start function {function_id!r}", name, brought)
        if caller_id:
            event_id = await self._event_of(function_id, caller_id, event_id, now)
        event = Event(event_id, event_id, name, brought, to_ms(now), now, {}, chain)
        if not await self.events.put(event, spec.retention):
            # The id of the run follows from the moment when the event was received first.
            event = await self.events.load(event_id) or event
        await self.events.list_alone(event, spec.retention)
        run_id = derived_ulid(to_ms(event.received_at), event.event_id, function_id)
        status = await self.runs.status_of(run_id, function_id)
        if status is not None and status.ended:
            return run_id
        if await self.intake.start(spec, event, run_id=run_id) is None:
            raise OperationError(
                "MP309",
                f"Function {function_id!r} was not started: its idempotency key was already used in the last 24 hours.",
            )
        return run_id

    async def _spec(self, function_id: str) -> FunctionSpec:
        known = (await self.registry.snapshot()).functions
        if function_id not in known:
            shown = ", ".join(sorted(known)) or "none"
            raise OperationError("MP308", f"There is no function {function_id!r}. Registered functions: {shown}.")
        return known[function_id]

    async def _event_of(self, function_id: str, caller_id: str, event_id: str, now: datetime) -> str:
        """The event of the first start with this id in the last 24 hours; if there was none, this one's."""
        seconds = int(now.timestamp())
        key = Key("D#" + short_hash("start", function_id, caller_id), "D")
        item: Item = {
            "pk": key.pk,
            "sk": key.sk,
            "event_id": event_id,
            "expires_at": seconds + int(_CALLER_ID.total_seconds()),
        }
        free, expired, mine = Absent(), LessThan("expires_at", seconds + 1), Equals("event_id", event_id)
        while True:
            try:
                await self.table.put(item, AnyOf((free, expired, mine)))
            except ConditionFailed:
                claimed = await self.table.get(key)
                if claimed is not None:  # else it has expired since, and is free
                    return str(claimed["event_id"])
            else:
                return event_id
