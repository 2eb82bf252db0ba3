"""Where apps send their events while a harness plays: to its engine.

    function, on a worker's thread ── send ──► taken in on the harness's loop ── ids ──► in the same drain: who listens
    test, on any thread ───────────── send ──► ids, put off ······· until_idle ──► taken in

A function waits for the engine. A test may block the very loop that the engine runs on (`send_sync` in an `async def`),
so its events are only read; as with all that a test does, they take effect when the harness works next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from milepost.errors import EventRefusedError
from milepost.sending import EventBatch
from milepost_engine.adapters.random_source import SeededRandom
from milepost_engine.ports import Clock
from milepost_engine.store.events import read_events, read_seed

from .crashes import Crashed, Deaths

__all__ = ["HarnessTransport"]

_CALLER: Final[ContextVar[tuple[HarnessTransport, Deaths] | None]] = ContextVar("milepost_harness_caller", default=None)
"""Whose function runs here, and in which life; it travels with the SDK's threads."""


class HarnessTransport:
    """A `Transport`. `take` takes a batch in; `life` is the present one of the process that the harness plays."""

    def __init__(self, take: Callable[[EventBatch], Coroutine[Any, Any, None]], clock: Clock) -> None:
        self._take = take
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self.life = Deaths()
        self.put_off: deque[EventBatch] = deque()

    def open(self) -> None:
        """Take events in on the loop that runs now."""
        self._loop = asyncio.get_running_loop()

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Meanwhile user code is called."""
        token = _CALLER.set((self, self.life))
        try:
            yield
        finally:
            _CALLER.reset(token)

    def send(self, batch: EventBatch) -> Sequence[str]:
        """Hand over a batch. Raises EventRefusedError for the first event that the engine does not accept."""
        read = read_events(
            list(batch.events), now=self._clock.now(), random_source=SeededRandom(0), seed=read_seed(batch.seed)
        )
        ids = tuple(event.event_id for event in read.events)
        accepted = EventBatch(batch.events[: len(ids)], batch.seed)
        transport, life = _CALLER.get() or (None, None)
        if transport is not self or self._loop is None:
            self.put_off.append(accepted)
        elif life is not self.life:
            # A thread outlives the crash that a harness plays, but a dead process sends nothing.
            raise Crashed("an earlier life of the process")
        else:
            asyncio.run_coroutine_threadsafe(self._take(accepted), self._loop).result()
        if read.problem:
            raise EventRefusedError(f"{len(ids)} of {len(batch.events)} events were taken: {read.problem}", ids)
        return ids
