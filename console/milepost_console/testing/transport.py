"""Sends the apps' events to the harness's engine.

    function, on a worker's thread ── send ──► accepted on the harness's loop ── ids ──► processed in the same drain
    test, on any thread ───────────── send ──► ids; deferred ······ until_idle ──► accepted

A function waits for the engine. A test may block the loop that the engine runs on (`send_sync` in an `async def`), so
its events are only validated at first and take effect when the harness next processes work.
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
"""The harness and the life whose function runs here; the SDK's threads inherit it."""


class HarnessTransport:
    """A `Transport`. `take` accepts a batch; `life` is the current life of the simulated process."""

    def __init__(self, take: Callable[[EventBatch], Coroutine[Any, Any, None]], clock: Clock) -> None:
        self._take = take
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self.life = Deaths()
        self.deferred: deque[EventBatch] = deque()

    def open(self) -> None:
        """Accept events on the running loop from now on."""
        self._loop = asyncio.get_running_loop()

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Mark calls to user code during the block."""
        token = _CALLER.set((self, self.life))
        try:
            yield
        finally:
            _CALLER.reset(token)

    def send(self, batch: EventBatch) -> Sequence[str]:
        """Send a batch. Raises EventRefusedError for the first event that the engine does not accept."""
        read = read_events(
            list(batch.events), now=self._clock.now(), random_source=SeededRandom(0), seed=read_seed(batch.seed)
        )
        ids = tuple(event.event_id for event in read.events)
        accepted = EventBatch(batch.events[: len(ids)], batch.seed)
        transport, life = _CALLER.get() or (None, None)
        if transport is not self or self._loop is None:
            self.deferred.append(accepted)
        elif life is not self.life:
            # The thread survives the simulated crash, but a dead process cannot send.
            raise Crashed("an earlier life of the process")
        else:
            asyncio.run_coroutine_threadsafe(self._take(accepted), self._loop).result()
        if read.problem:
            raise EventRefusedError(f"{len(ids)} of {len(batch.events)} events were accepted: {read.problem}", ids)
        return ids
