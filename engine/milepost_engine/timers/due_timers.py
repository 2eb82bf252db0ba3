"""Moves timers that are due soon from the table to the queue, each with the exact rest of its delay.

A tick moves whole minutes, up to two ahead; a late or repeated tick moves what was missed. Moved timers are not deleted
(a delete costs a write): the cursor has passed them and retention removes them. Timers are only made for moments
farther ahead than any tick has looked.

    tick          sends the first page of each partition ── more? notes its end ── sends MoveTimers ── moves the cursor
    MoveTimers    sends a page ── notes its end ── sends a page … ── time is up, or enough? sends MoveTimers
Two that move one partition meet at the note: whoever finds that it has changed leaves the rest to the other. A crash
sends at most one page again, whose messages find their work done.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from milepost_engine.core.ids import to_ms
from milepost_engine.ports import Absent, Changes, Clock, ConditionFailed, Equals, Item, Key, Page, RandomSource, Table
from milepost_engine.store.messages import TIMER_SHARDS, MessageSender, MoveTimers, timer_partition

from .cursors import CLOCK, Cursors

__all__ = ["BEFORE_FIRST_TICK", "LOOK_AHEAD", "DueTimers"]

LOOK_AHEAD: Final = timedelta(minutes=2)
BEFORE_FIRST_TICK: Final = timedelta(hours=1)
"""How far the very first tick looks back: runs may have begun while the ticks before it failed."""
_NOTE_KEPT_SECONDS: Final = 7 * 86_400
_DONE: Final = ""
"""What is noted of a partition that has no timers left."""


@dataclass(frozen=True, slots=True)
class DueTimers:
    """See the module."""

    table: Table
    sender: MessageSender
    clock: Clock
    random_source: RandomSource
    cursors: Cursors
    page_size: int = 500
    pages_per_message: int = 100

    async def move(self, now: datetime, deadline: datetime | None = None) -> int:
        """Move the timers of every minute up to two ahead, or leave them to the queue; returns how many were moved."""
        last = to_ms(now + LOOK_AHEAD) // 60_000
        cursor = await self.cursors.read("timers", to_ms(now - BEFORE_FIRST_TICK) // 60_000)
        moved = 0
        for minute in range(cursor + 1, last + 1):
            if deadline is not None and self.clock.now() >= deadline:
                break
            moved += sum(await asyncio.gather(*(self._begin(minute, shard) for shard in range(TIMER_SHARDS))))
            await self.cursors.advance("timers", minute)
        return moved

    async def move_rest(self, message: MoveTimers, deadline: datetime | None) -> None:
        """Move what is left of a partition, page by page, until `deadline`."""
        key, mover = _note(message.minute, message.shard), self.random_source.random_bytes(8).hex()
        note = await self.table.get(key)
        after = str(note["after"]) if note is not None else _DONE
        page = await self._page(message.minute, message.shard, after) if after else None
        for _ in range(self.pages_per_message):
            if page is None:
                return
            if deadline is not None and self.clock.now() >= deadline:
                break
            following = page.next or _DONE
            # The next page is read while this one is sent.
            upcoming = self._page(message.minute, message.shard, following) if following else _none()
            _, next_page = await asyncio.gather(self._send(page), upcoming)
            try:
                await self.table.update(key, Changes(set={"after": following, "mover": mover}), Equals("after", after))
            except ConditionFailed as standing:
                # It is this mover's own note if the answer to its writing was lost.
                if standing.existing is None or standing.existing.get("mover") != mover:
                    return
            after, page = following, next_page
        if page is not None:
            await self.sender.send(message)

    async def _begin(self, minute: int, shard: int) -> int:
        """Move the first page of a partition, and leave the others to the queue."""
        page = await self._page(minute, shard, None)
        await self._send(page)
        if page.next is not None:
            key = _note(minute, shard)
            note: Item = {
                "pk": key.pk,
                "sk": key.sk,
                "after": page.next,
                "expires_at": minute * 60 + _NOTE_KEPT_SECONDS,
            }
            try:
                await self.table.put(note, Absent())
            except ConditionFailed as standing:
                if standing.existing and standing.existing["after"] == _DONE:
                    return len(page.items)
            await self.sender.send(MoveTimers(minute=minute, shard=shard))
        return len(page.items)

    async def _page(self, minute: int, shard: int, after: str | None) -> Page:
        return await self.table.query(timer_partition(minute, shard), limit=self.page_size, after=after)

    async def _send(self, page: Page) -> None:
        due = [(str(item["body"]), int(str(item["sk"]).partition("#")[0])) for item in page.items]
        await self.sender.send_timers(due)


def _note(minute: int, shard: int) -> Key:
    return Key(CLOCK, f"timers#{minute}#{shard}")


async def _none() -> None:
    return None
