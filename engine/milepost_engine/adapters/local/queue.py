"""The queue of a local engine: rows in the store's SQLite file, delivered by the process that owns it.

A message's life (law: every arrow is one commit, so a killed process finds each message where it was):

    send ──► waiting ──(due)──► in flight ──(handler returns)──► gone
                ▲                   │
                ├──(raises: later)──┤ 0.5 s, 1 s, 2 s … 60 s
                │                   └──(raised `max_receives` times)──► dead
                └────────────────────────(redrive)───────────────────────┘

Only the count of failures is stored, not that a message is in flight: after a kill the message is due again at once,
and kills never make it a dead letter. A message that a process finds waiting at its start may have been in flight, so
its receive count is at least 2. Delays are exact, without polling: a heap in memory has the waiting messages, and one
alarm sleeps until the first is due.

The system's clock may have been a day ahead when a process was killed, and be right when the next one starts. What was
due at once is stored without a moment, and what failed waits no longer than `MAX_BACKOFF_SECONDS` from the start. Only
a delay that somebody asked for keeps its moment.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from milepost_engine.adapters.limits import check_message
from milepost_engine.ports import MAX_DELAY_SECONDS, Clock, Message

from .sqlite import SqliteStore

__all__ = ["DeadLetter", "Depth", "Handler", "LocalQueue", "Received"]

MAX_RECEIVES: Final = 10
FIRST_BACKOFF_SECONDS: Final = 0.5
MAX_BACKOFF_SECONDS: Final = 60.0

_SMALL: Final = 4096
_MOST_BODIES: Final = 4096

_AT_ONCE: Final = 0
"""Stored instead of a moment for what is due at once."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_log = logging.getLogger("milepost.queue")


@dataclass(frozen=True, slots=True)
class Received:
    """A message for the consumer; `receive_count` is 1 the first time, more if it may have been received before."""

    id: int
    body: str
    receive_count: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that failed too often; `problem` is what its handler raised last.

    A dead letter of SQS has no `problem` and no `dead_at`, but `queue` and `sent_at`, when it was first sent.
    """

    id: int | str
    body: str
    receive_count: int
    problem: str
    dead_at: datetime | None
    queue: str = ""
    sent_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages are due, delayed, being handled, and dead letters."""

    due: int
    delayed: int
    in_flight: int
    dead: int


Handler = Callable[[Received], Awaitable[None]]


class LocalQueue:
    """Implements the Queue port, and consumes it; one `LocalQueue` per name and store.

    All time comes from `clock`, so a wound clock drives it. `longest_delay_seconds` may be infinite: a delay is only a
    column of the row.
    """

    def __init__(
        self,
        store: SqliteStore,
        clock: Clock,
        name: str,
        *,
        max_receives: int = MAX_RECEIVES,
        longest_delay_seconds: float = MAX_DELAY_SECONDS,
    ) -> None:
        self._store = store
        self._clock = clock
        self._name = name
        self._max_receives = max_receives
        self._longest_delay_seconds = longest_delay_seconds
        self._wake: asyncio.Event | None = None  # made by each consumer: an asyncio.Event belongs to one loop
        self._idlers: list[asyncio.Future[None]] = []
        self._in_flight = 0
        self._bodies: dict[int, str] = {}
        """Small messages that were just sent: reading them again would take longer than writing them did."""
        statement = "SELECT due_at, id, receive_count FROM messages WHERE queue = ? AND dead_at IS NULL"
        self._waiting: list[tuple[int, int]] = [
            (self._due_at_start(due_at, failures), id_)
            for due_at, id_, failures in store.connection.execute(statement, (name,))
        ]
        heapq.heapify(self._waiting)
        self._received_before = {id_ for _, id_ in self._waiting}

    def _due_at_start(self, due_at: int, failures: int) -> int:
        """When a stored message is due, by the clock that this process has."""
        now = self._now()
        if due_at == _AT_ONCE:
            return now
        return min(due_at, now + int(MAX_BACKOFF_SECONDS * 1000)) if failures else due_at

    @property
    def in_flight(self) -> int:
        """How many messages are being handled now."""
        return self._in_flight

    def depth(self) -> Depth:
        """Counts for the dashboard."""
        now = self._now()
        due = sum(due_at <= now for due_at, _ in self._waiting)
        statement = "SELECT count(*) FROM messages WHERE queue = ? AND dead_at IS NOT NULL"
        dead = int(self._store.connection.execute(statement, (self._name,)).fetchone()[0])
        return Depth(due, len(self._waiting) - due, self._in_flight, dead)

    def next_due(self) -> datetime | None:
        """When the first waiting message is due (it may have passed), or None if none waits."""
        return _EPOCH + self._waiting[0][0] * _MILLISECOND if self._waiting else None

    async def send(self, messages: Sequence[Message]) -> None:
        """Stores the messages; returns once they are durable."""
        if not messages:
            return
        for message in messages:
            check_message(message, self._longest_delay_seconds)
        now = self._clock.now()
        due = [_after(now, m.delay_seconds) for m in messages]
        rows = [
            (self._name, m.body, due_at if m.delay_seconds else _AT_ONCE)
            for m, due_at in zip(messages, due, strict=True)
        ]

        def insert(connection: sqlite3.Connection) -> list[tuple[int, int]]:
            statement = "INSERT INTO messages (queue, body, due_at) VALUES (?, ?, ?)"
            ids = [connection.execute(statement, row).lastrowid or 0 for row in rows]
            return list(zip(due, ids, strict=True))

        def sent(entries: list[tuple[int, int]]) -> None:
            for (_, id_), message in zip(entries, messages, strict=True):
                if not message.delay_seconds and len(message.body) < _SMALL and len(self._bodies) < _MOST_BODIES:
                    self._bodies[id_] = message.body
            self._wait(entries)

        # A callback, not code after the await: a sender that is cancelled meanwhile must not strand committed rows.
        await self._store.commits.write(insert, sent)

    async def run(self, handler: Handler, *, concurrency: int) -> None:
        """Handles messages as they become due, at most `concurrency` at once, until cancelled.

        What is in flight when it is cancelled becomes due again at once.
        """
        await self._consume(handler, concurrency, until_idle=False)

    async def drain(self, handler: Handler, *, concurrency: int = 16) -> None:
        """Handles what is due now, and what becomes due meanwhile, until nothing is due."""
        await self._consume(handler, concurrency, until_idle=True)

    async def idle_until(self) -> datetime | None:
        """Waits until a running consumer has nothing due and nothing in flight; returns `next_due`."""
        while not self._is_idle():
            idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idlers.append(idle)
            await idle
        return self.next_due()

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The dead letters, latest first."""
        statement = (
            "SELECT id, body, receive_count, coalesce(problem, ''), dead_at FROM messages "
            "WHERE queue = ? AND dead_at IS NOT NULL ORDER BY dead_at DESC, id DESC LIMIT ?"
        )
        rows = self._store.connection.execute(statement, (self._name, limit)).fetchall()
        return [
            DeadLetter(id_, body, count, problem, _EPOCH + dead_at * _MILLISECOND)
            for id_, body, count, problem, dead_at in rows
        ]

    async def redrive(self, ids: Sequence[int | str] | None = None) -> int:
        """Makes dead letters due again with a count of 0: those named, or all; returns how many."""
        now = self._now()

        def revive(connection: sqlite3.Connection) -> list[tuple[int, int]]:
            dead = "SELECT id FROM messages WHERE queue = ? AND dead_at IS NOT NULL"
            found = {row[0] for row in connection.execute(dead, (self._name,))}
            chosen = sorted(found if ids is None else found.intersection(ids))
            statement = "UPDATE messages SET dead_at = NULL, receive_count = 0, due_at = ? WHERE id = ?"
            connection.executemany(statement, [(_AT_ONCE, id_) for id_ in chosen])
            self._received_before.update(chosen)
            return [(now, id_) for id_ in chosen]

        return len(await self._store.commits.write(revive, self._wait))

    def _now(self) -> int:
        return (self._clock.now() - _EPOCH) // _MILLISECOND

    def _wait(self, entries: list[tuple[int, int]]) -> None:
        for entry in entries:
            heapq.heappush(self._waiting, entry)
        self._changed()

    def _changed(self) -> None:
        if self._wake is not None:
            self._wake.set()

    def _is_idle(self) -> bool:
        return self._in_flight == 0 and not (self._waiting and self._waiting[0][0] <= self._now())

    async def _consume(self, handler: Handler, concurrency: int, *, until_idle: bool) -> None:
        if self._wake is not None:
            raise RuntimeError(f"queue {self._name} already has a consumer: cancel it first")
        wake = self._wake = asyncio.Event()
        alarm: asyncio.Task[None] | None = None
        alarm_at = 0
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    wake.clear()
                    now = self._now()
                    while self._in_flight < concurrency and self._waiting and self._waiting[0][0] <= now:
                        _, id_ = heapq.heappop(self._waiting)
                        self._in_flight += 1
                        tasks.create_task(self._handle(handler, id_))
                    if self._is_idle():
                        if until_idle:
                            return
                        self._notify_idlers()
                    if not until_idle and self._in_flight < concurrency and self._waiting:
                        due_at = self._waiting[0][0]
                        if alarm is None or alarm.done() or due_at < alarm_at:
                            if alarm is not None:
                                alarm.cancel()
                            alarm, alarm_at = tasks.create_task(self._alarm(due_at)), due_at
                    await wake.wait()
        finally:
            self._wake = None

    async def _alarm(self, due_at: int) -> None:
        await self._clock.sleep((_EPOCH + due_at * _MILLISECOND - self._clock.now()).total_seconds())
        self._changed()

    def _notify_idlers(self) -> None:
        idlers, self._idlers = self._idlers, []
        for idle in idlers:
            if not idle.done():
                idle.set_result(None)

    async def _handle(self, handler: Handler, id_: int) -> None:
        received: Received | None = None
        try:
            received = self._receive(id_)
            await handler(received)
            await self._store.commits.write(
                lambda rows: rows.execute("DELETE FROM messages WHERE id = ?", (id_,)).rowcount
            )
            self._received_before.discard(id_)
        except asyncio.CancelledError:
            self._received_before.add(id_)
            heapq.heappush(self._waiting, (self._now(), id_))
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the message is delivered again
            _log.exception("queue %s: message %s failed; it will be delivered again", self._name, id_)
            await self._put_back(id_, repr(error))
        finally:
            self._in_flight -= 1
            self._changed()

    def _receive(self, id_: int) -> Received:
        body, failures = self._bodies.pop(id_, None), 0
        if body is None:
            statement = "SELECT body, receive_count FROM messages WHERE id = ?"
            body, failures = self._store.connection.execute(statement, (id_,)).fetchone()
        before = max(failures, int(id_ in self._received_before))
        return Received(id_, body, before + 1)

    async def _put_back(self, id_: int, problem: str) -> None:
        """Counts a failure: the message is delivered again later, or becomes a dead letter."""
        now = self._clock.now()

        def count(connection: sqlite3.Connection) -> list[tuple[int, int]]:
            statement = "SELECT receive_count + 1 FROM messages WHERE id = ?"
            failures = int(connection.execute(statement, (id_,)).fetchone()[0])
            if failures >= self._max_receives:
                _log.error("queue %s: message %s becomes a dead letter: %s", self._name, id_, problem)
                statement = "UPDATE messages SET receive_count = ?, dead_at = ?, problem = ? WHERE id = ?"
                connection.execute(statement, (failures, _after(now, 0), problem, id_))
                return []
            due_at = _after(now, _backoff_seconds(failures))
            statement = "UPDATE messages SET receive_count = ?, due_at = ?, problem = ? WHERE id = ?"
            connection.execute(statement, (failures, due_at, problem, id_))
            return [(due_at, id_)]

        await self._store.commits.write(count, self._wait)


def _backoff_seconds(failures: int) -> float:
    # The exponent is limited because a float overflows after about a thousand doublings.
    return min(FIRST_BACKOFF_SECONDS * 2.0 ** min(failures - 1, 100), MAX_BACKOFF_SECONDS)


def _after(now: datetime, seconds: float) -> int:
    """Milliseconds since 1970; a delay is rounded up (never early), without one it is due at once."""
    if not seconds:
        return (now - _EPOCH) // _MILLISECOND
    return -((_EPOCH - now - timedelta(seconds=seconds)) // _MILLISECOND)
