"""The messages on the work queue, and sending one for later whatever the delay.

    {"t": "start" | "job" | "timer" | "event" | "child" | "cancel" | "watch", "run": …, "fn": …, …}   about a run
    {"t": "start", "again": true, …}   sent once more: for a run that nobody has begun
    {"t": "report", "run": …, "fn": …, "job": …, …}   about an invocation that nobody waited for (`reports.py`)
    {"t": "cron", "fn": …, "line": …, "at": ms}                                              a cron tick
    {"t": "events", "events": […]}                                                           events to take in
A message due later than the queue can hold becomes a timer item; `timers.py` moves it to the queue in time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from milepost_engine.codec import Json, text
from milepost_engine.core.ids import short_hash, to_ms
from milepost_engine.ports import MAX_DELAY_SECONDS, Clock, Message, Queue, Table

__all__ = ["TIMER_SHARDS", "MessageSender", "about", "timer_partition"]

TIMER_SHARDS: Final = 4
_KEPT_AFTER_DUE_SECONDS: Final = 7 * 86_400


def timer_partition(minute: int, shard: int) -> str:
    """`minute` is whole minutes since 1970."""
    return f"T#{minute}#{shard}"


class OfRun(Protocol):
    """What names a run: the run itself, a parent, a wait."""

    @property
    def run_id(self) -> str: ...

    @property
    def function_id(self) -> str: ...


def about(run: OfRun, kind: str, /, **more: Json) -> dict[str, Json]:
    """A message about a run."""
    return {"t": kind, "run": run.run_id, "fn": run.function_id, **more}


class MessageSender:
    """Sends messages now or at a moment. `longest_delay_seconds` is what the queue itself can hold."""

    def __init__(
        self, queue: Queue, table: Table, clock: Clock, *, longest_delay_seconds: float = MAX_DELAY_SECONDS
    ) -> None:
        self._queue = queue
        self._table = table
        self._clock = clock
        self._longest = longest_delay_seconds

    async def send(self, *bodies: Mapping[str, Json]) -> None:
        """Now, all of them."""
        if bodies:
            await self._queue.send([Message(text(body)) for body in bodies])

    async def send_texts(self, bodies: Sequence[str]) -> None:
        """Now, all of them; each is a JSON object already."""
        if bodies:
            await self._queue.send([Message(body) for body in bodies])

    async def send_at(self, body: Mapping[str, Json], due_at: datetime) -> None:
        """At a moment; one that has passed is now."""
        delay = (due_at - self._clock.now()) / timedelta(seconds=1)
        if delay <= self._longest:
            await self._queue.send([Message(text(body), max(0.0, delay))])
            return
        raw = text(body)
        due_ms = to_ms(due_at)
        digest = short_hash(raw)
        await self._table.put(
            {
                "pk": timer_partition(due_ms // 60_000, int(digest, 16) % TIMER_SHARDS),
                # The same timer set twice is one item.
                "sk": f"{due_ms:015d}#{digest}",
                "body": raw,
                "expires_at": due_ms // 1000 + _KEPT_AFTER_DUE_SECONDS,
            }
        )

    async def send_timers(self, timers: Sequence[tuple[str, int]]) -> None:
        """The messages of timer items and when they are due (milliseconds), each with the exact rest of its delay."""
        if timers:
            now_ms = to_ms(self._clock.now())
            delays = [min(max(0.0, (due_ms - now_ms) / 1000), self._longest) for _, due_ms in timers]
            await self._queue.send([Message(body, delay) for (body, _), delay in zip(timers, delays, strict=True)])
