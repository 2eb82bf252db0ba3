"""The tick of every minute: timers that are due soon, cron lines, and the sweeper.

    pk                    sk               item
    T#<minute>#<shard>    <due>#<hash>     a message to send at its moment
    CLOCK                 timers           last minute whose timers were moved
    CLOCK                 sweep            moment up to which runs were swept
    CRON                  <fn>#<hash>      a cron line: the next tick
A tick moves whole minutes, up to two ahead, each with its exact remaining delay; a late or repeated tick moves what
was missed. Moved timers are not deleted (a delete costs a write): the cursor has passed them and retention removes
them. Timers are only made for moments farther ahead than any tick has looked.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from .core.ids import first_ulid, from_ms, short_hash, to_ms
from .core.run import RunStatus
from .cron import jitter_offset, latest_due, next_after, ticks_between
from .ports import Absent, Changes, Clock, ConditionFailed, Equals, Item, Key, Table
from .store.manifest import CronTrigger, FunctionSpec
from .store.messages import TIMER_SHARDS, CronDue, MessageSender, WatchRun, timer_partition
from .store.registry import Registry
from .store.run_items import list_of_runs

__all__ = ["LOOK_AHEAD", "TICK", "Timers"]

TICK: Final = timedelta(minutes=1)
LOOK_AHEAD: Final = timedelta(minutes=2)
SWEEP_AFTER: Final = timedelta(minutes=15)
"""A run that lives this long gets a watch; most have ended by then and cost the sweeper a part of one read."""
_BEFORE_FIRST_TICK: Final = timedelta(hours=1)
"""How far the very first tick looks back: runs may have begun while the ticks before it failed."""
_CATCH_UP_LIMIT: Final = 1000
_TIMERS_PER_PAGE: Final = 500
_LIVE: Final = frozenset({RunStatus.QUEUED.value, RunStatus.RUNNING.value})


@dataclass(frozen=True, slots=True)
class Timers:
    """See the module. `tick` may run late, twice or in two places at once."""

    table: Table
    registry: Registry
    sender: MessageSender
    clock: Clock

    async def tick(self) -> None:
        now = self.clock.now()
        await self.move_due(now)
        await self.cron(now)
        await self.sweep(now)

    # --- timers ---------------------------------------------------------------------------------------------------

    async def move_due(self, now: datetime) -> int:
        """Move the timers of every minute up to two ahead to the queue; returns how many."""
        last = to_ms(now + LOOK_AHEAD) // 60_000
        cursor = await self._cursor("timers", to_ms(now - _BEFORE_FIRST_TICK) // 60_000)
        moved = 0
        for minute in range(cursor + 1, last + 1):
            moved += sum(await asyncio.gather(*(self._move(minute, shard) for shard in range(TIMER_SHARDS))))
            await self._advance("timers", minute)
        return moved

    async def _move(self, minute: int, shard: int) -> int:
        """Move the timers of one partition, a page at a time, so that a crowded minute does not fill the memory."""
        moved, after = 0, None
        while True:
            page = await self.table.query(timer_partition(minute, shard), limit=_TIMERS_PER_PAGE, after=after)
            due = [(str(item["body"]), int(str(item["sk"]).partition("#")[0])) for item in page.items]
            await self.sender.send_timers(due)
            moved, after = moved + len(due), page.next
            if after is None:
                return moved

    async def _cursor(self, name: str, start: int) -> int:
        item = await self.table.get(Key("CLOCK", name))
        if item is not None:
            return int(item["at"])
        try:
            await self.table.put({"pk": "CLOCK", "sk": name, "at": start}, Absent())
        except ConditionFailed as standing:
            return int(standing.existing["at"]) if standing.existing else start
        return start

    async def _advance(self, name: str, at: int) -> None:
        await self.table.update(Key("CLOCK", name), Changes(set={"at": at}))

    # --- cron -----------------------------------------------------------------------------------------------------

    async def cron(self, now: datetime) -> None:
        """Send the ticks that are due within the look-ahead, and arm each line for its next one."""
        snapshot = await self.registry.snapshot()
        page = await self.table.query("CRON")
        armed = {str(item["sk"]): item for item in page.items}
        wanted: set[str] = set()
        for spec, trigger in snapshot.crons():
            key = f"{spec.function_id}#{short_hash(trigger.text)}"
            wanted.add(key)
            item = armed.get(key)
            if item is None:
                await self._arm(key, spec, trigger, now)
            else:
                await self._fire(key, item, spec, trigger, now)
        for key in armed.keys() - wanted:
            await self.table.delete(Key("CRON", key))

    async def next_cron(self) -> datetime | None:
        """The next armed tick, for whoever winds a clock."""
        page = await self.table.query("CRON")
        return min((from_ms(int(item["next_at"])) for item in page.items), default=None)

    async def _arm(self, key: str, spec: FunctionSpec, trigger: CronTrigger, now: datetime) -> None:
        item: Item = {
            "pk": "CRON",
            "sk": key,
            "function_id": spec.function_id,
            "next_at": to_ms(next_after(trigger.line, now)),
        }
        try:
            await self.table.put(item, Absent())
        except ConditionFailed:
            return
        await self._fire(key, item, spec, trigger, now)

    async def _fire(self, key: str, item: Item, spec: FunctionSpec, trigger: CronTrigger, now: datetime) -> None:
        armed_for = from_ms(int(item["next_at"]))
        until = now + LOOK_AHEAD
        if armed_for > until:
            await self._arm_sooner(key, item, trigger, until)
            return
        for tick in self._ticks(trigger, armed_for, now, until):
            offset = jitter_offset(spec.function_id, trigger.text, trigger.jitter) if trigger.jitter else timedelta(0)
            due = CronDue(function_id=spec.function_id, line=trigger.text, at=tick, fire_at=tick + offset)
            # Sent before the line is armed anew: a crash between the two sends the tick again, for the same run.
            await self.sender.send_at(due, tick + offset)
        following = to_ms(next_after(trigger.line, max(until, armed_for)))
        try:
            await self.table.update(
                Key("CRON", key), Changes(set={"next_at": following}), Equals("next_at", int(item["next_at"]))
            )
        except ConditionFailed:
            return

    async def _arm_sooner(self, key: str, item: Item, trigger: CronTrigger, until: datetime) -> None:
        """Arm a line that was armed by a clock which has been set back since; a tick sent twice starts one run."""
        following = to_ms(next_after(trigger.line, until))
        armed = int(item["next_at"])
        if following < armed:
            with suppress(ConditionFailed):
                await self.table.update(Key("CRON", key), Changes(set={"next_at": following}), Equals("next_at", armed))

    def _ticks(self, trigger: CronTrigger, armed_for: datetime, now: datetime, until: datetime) -> tuple[datetime, ...]:
        """The ticks to send: those still ahead, and of those missed what the trigger asks for."""
        ahead = ticks_between(trigger.line, max(armed_for - timedelta(milliseconds=1), now), until, _CATCH_UP_LIMIT)
        if armed_for > now:
            return ahead
        # A tick that is at most one tick of ours late was not missed: the clock merely looked a moment later.
        grace = now - TICK
        match trigger.catch_up:
            case "all":
                missed = ticks_between(trigger.line, armed_for - timedelta(milliseconds=1), now, _CATCH_UP_LIMIT)
            case "skip":
                missed = ticks_between(trigger.line, max(armed_for - timedelta(milliseconds=1), grace), now, 1)
            case _:
                latest = latest_due(trigger.line, armed_for, now)
                missed = (latest,) if latest is not None else ()
        return (*missed, *ahead)

    # --- the sweeper ------------------------------------------------------------------------------------------------

    async def sweep(self, now: datetime) -> int:
        """Put a watch on every run that still lives a quarter of an hour after it was queued; returns how many."""
        until = to_ms(now - SWEEP_AFTER)
        cursor = await self._cursor("sweep", to_ms(now - SWEEP_AFTER - _BEFORE_FIRST_TICK))
        watched = 0
        for function_id in (await self.registry.snapshot()).functions:
            first, last = first_ulid(cursor), first_ulid(until)
            page = await self.table.query(list_of_runs(function_id), first=first, last=last)
            for item in page.items:
                if item["status"] in _LIVE:
                    await self.sender.send(WatchRun(str(item["sk"]), function_id))
                    watched += 1
        await self._advance("sweep", until)
        return watched
