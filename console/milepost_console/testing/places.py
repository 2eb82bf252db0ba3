"""What a harness's engine stands on: memory of this process, or AWS as moto plays it."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Protocol

from milepost_engine.adapters.local_queue import LocalQueue, Received
from milepost_engine.adapters.sqlite import SqliteStore
from milepost_engine.engine import Engine
from milepost_engine.ports import Blobs, Clock, Queue, Table

__all__ = ["MemoryPlace", "Place"]

_MANY_RECEIVES: Final = 10_000
"""A story may need many lives; its messages are not given up for that."""


class Place(Protocol):
    """Store and queue; they outlive each life of the process that a harness plays."""

    @property
    def table(self) -> Table: ...

    @property
    def blobs(self) -> Blobs: ...

    def new_queue(self) -> Queue:
        """The queue as a new life of the process finds it. It holds messages for any time."""
        ...

    async def drain(self, engine: Engine) -> None:
        """Let the engine work off all that is due; what it raises comes through, its message comes again."""
        ...

    def next_due(self) -> datetime | None:
        """When the first waiting message is due."""
        ...

    def close(self) -> None: ...


class MemoryPlace:
    """SQLite in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._store = SqliteStore.open(":memory:", clock=clock)
        self.table = self._store.table
        self.blobs = self._store.blobs
        self.new_queue()

    def new_queue(self) -> LocalQueue:
        self._queue = LocalQueue(
            self._store, self._clock, "work", max_receives=_MANY_RECEIVES, longest_delay_seconds=float("inf")
        )
        return self._queue

    async def drain(self, engine: Engine) -> None:
        async def handle(received: Received) -> None:
            await engine.handle(received.body, redelivered=received.receive_count > 1)

        await self._queue.drain(handle)

    def next_due(self) -> datetime | None:
        return self._queue.next_due()

    def close(self) -> None:
        self._store.close()
