"""Sends the ticks of cron lines that are due soon, and arms each line for its next one.

pk      sk             item
CRON    <fn>#<hash>    a cron line: the next tick
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from milepost_engine.core.ids import from_ms, short_hash, to_ms
from milepost_engine.cron import jitter_offset, latest_due, next_after, ticks_between
from milepost_engine.ports import Absent, Changes, ConditionFailed, Equals, Item, Key, Table
from milepost_engine.store.manifest import CronTrigger, FunctionSpec
from milepost_engine.store.messages import CronDue, MessageSender
from milepost_engine.store.registry import Registry

from .due_timers import LOOK_AHEAD

__all__ = ["CronLines"]

_GRACE: Final = timedelta(minutes=1)
"""A tick that is at most this late was not missed: the clock merely looked a moment later."""
_CATCH_UP_LIMIT: Final = 1000
_LINES_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class CronLines:
    """See the module."""

    table: Table
    registry: Registry
    sender: MessageSender

    async def fire(self, now: datetime) -> None:
        """Send the ticks that are due within the look-ahead, and arm each line for its next one.

        Each line is tried, whatever happens to the others; then the first error is raised.
        """
        snapshot = await self.registry.snapshot()
        page = await self.table.query("CRON")
        armed = {str(item["sk"]): item for item in page.items}
        wanted = {
            f"{spec.function_id}#{short_hash(trigger.text)}": (spec, trigger) for spec, trigger in snapshot.crons()
        }
        lines = [(key, armed.get(key), spec, trigger) for key, (spec, trigger) in wanted.items()]
        problems: list[BaseException] = []
        for start in range(0, len(lines), _LINES_AT_ONCE):
            part = (self._line(*line, now) for line in lines[start : start + _LINES_AT_ONCE])
            problems += filter(None, await asyncio.gather(*part, return_exceptions=True))
        for key in armed.keys() - wanted.keys():
            await self.table.delete(Key("CRON", key))
        if problems:
            raise problems[0]

    async def _line(
        self, key: str, armed: Item | None, spec: FunctionSpec, trigger: CronTrigger, now: datetime
    ) -> None:
        if armed is None:
            await self._arm(key, spec, trigger, now)
        else:
            await self._fire(key, armed, spec, trigger, now)

    async def next(self) -> datetime | None:
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
        grace = now - _GRACE
        match trigger.catch_up:
            case "all":
                missed = ticks_between(trigger.line, armed_for - timedelta(milliseconds=1), now, _CATCH_UP_LIMIT)
            case "skip":
                missed = ticks_between(trigger.line, max(armed_for - timedelta(milliseconds=1), grace), now, 1)
            case _:
                latest = latest_due(trigger.line, armed_for, now)
                missed = (latest,) if latest is not None else ()
        return (*missed, *ahead)


def _key(spec: FunctionSpec, trigger: CronTrigger) -> str:
    return f"{spec.function_id}#{short_hash(trigger.text)}"
