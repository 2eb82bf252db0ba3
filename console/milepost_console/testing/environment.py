"""Where a harness's engine keeps its data: in memory, or in moto's AWS."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Protocol

from milepost_engine.adapters.local.queue import LocalQueue, Received
from milepost_engine.adapters.local.sqlite import SqliteStore
from milepost_engine.engine import Engine
from milepost_engine.ports import Blobs, Clock, Queue, Table

from .failing import failed

__all__ = ["Environment", "MemoryEnvironment"]

_TRIES: Final = 3
"""Tries of a message that raises; tries cut short by a crash do not count."""
_SHOWN: Final = 300
_WORDS: Final = {"function": "fn", "run": "run", "step": "step", "job": "job"}


class Environment(Protocol):
    """Store and queue, which survive the simulated process's crashes."""

    @property
    def table(self) -> Table: ...

    @property
    def blobs(self) -> Blobs: ...

    def new_queue(self) -> Queue:
        """The queue for a new life of the process. It supports delays of any length."""
        ...

    async def drain(self, engine: Engine) -> None:
        """Let the engine process everything that is due; exceptions propagate."""
        ...

    def next_due(self) -> datetime | None:
        """When the next waiting message is due."""
        ...

    def close(self) -> None: ...


class MemoryEnvironment:
    """SQLite in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._store = SqliteStore.open(":memory:", clock=clock)
        self.table = self._store.table
        self.blobs = self._store.blobs
        self._poison: list[tuple[str, Exception]] = []
        self.new_queue()

    def new_queue(self) -> LocalQueue:
        self._queue = LocalQueue(self._store, self._clock, "work", longest_delay_seconds=float("inf"))
        return self._queue

    async def drain(self, engine: Engine) -> None:
        """See `Environment`. A message that raises is retried at once, then reported as a test failure."""

        async def handle(received: Received) -> None:
            for attempt in range(_TRIES):
                try:
                    await engine.handle(received.body, redelivered=attempt > 0 or received.receive_count > 1)
                except Exception as error:  # noqa: BLE001 - raised below, in the test
                    failed = error
                else:
                    return
            self._poison.append((received.body, failed))

        await self._queue.drain(handle)
        if self._poison:
            (body, error), self._poison = self._poison[0], []
            raise failed(
                f"the engine failed {_TRIES} times to process a message about {_subject(body)}, most recently with "
                f"{type(error).__name__}: {error}. The message: {body[:_SHOWN]}"
            ) from error

    def next_due(self) -> datetime | None:
        return self._queue.next_due()

    def close(self) -> None:
        self._store.close()


def _subject(body: str) -> str:
    """What a message of the work queue is about, for people."""
    try:
        message: Any = json.loads(body)
    except ValueError:
        return "an unknown subject (it is not JSON)"
    if not isinstance(message, Mapping):
        return "an unknown subject (it is not a JSON object)"
    if message.get("t") == "events":
        names = [
            each.get("name") or each.get("kept") for each in message.get("events", []) if isinstance(each, Mapping)
        ]
        return f"the events {', '.join(map(str, names))}"
    where = ", ".join(f"{word} {message[key]}" for word, key in _WORDS.items() if message.get(key))
    return f"{message.get('t')!r} of {where or 'an unknown subject'}"
