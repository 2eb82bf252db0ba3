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
from typing import Any, Final, Protocol, TypeVar

from milepost.errors import EventRefusedError
from milepost.sending import EventBatch
from milepost_engine.adapters.clock import WoundClock
from milepost_engine.adapters.random_source import SeededRandom
from milepost_engine.ports import Clock
from milepost_engine.store.events import read_events, read_seed

from .crashes import Crashed, Deaths
from .failing import failed

__all__ = ["HarnessTransport"]

T = TypeVar("T")

_CALLER: Final[ContextVar[tuple[HarnessTransport, Deaths] | None]] = ContextVar("milepost_harness_caller", default=None)
"""The harness and the life whose function runs here; the SDK's threads inherit it."""


class RunsOfHarness(Protocol):
    """What a harness does for `Function.start` and the run that it returns. Called on the harness's loop."""

    clock: WoundClock

    async def ask_runs(self, method: str, path: str, body: bytes, *, by_test: bool) -> tuple[int, bytes]:
        """Answer a request, as a server does; a test's, after everything that is due."""
        ...

    async def wind_on(self, seconds: float | None) -> None:
        """Wind the clock to what is due next, at most so far."""
        ...


class HarnessDoor:
    """A way to the harness's runs. It waits by winding the clock."""

    def __init__(self, transport: HarnessTransport, *, blocks: bool) -> None:
        self._transport = transport
        self._blocks = blocks

    async def request(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Answer a request about runs."""
        life = self._transport.called_by()
        if life is not None and life is not self._transport.life:
            raise Crashed("an earlier life of the process")
        return await self._do(self._transport.runs.ask_runs(method, path, body or b"", by_test=life is None))

    async def pause(self, seconds: float, left: float | None) -> None:  # noqa: ARG002 - the harness knows what is due
        """Wind the clock to what is due next."""
        if self._transport.called_by() is not None:
            raise failed(
                "code of a function waits for the result of a run, which holds up its own invocation: "
                "write await ctx.step.invoke(id, function, data) in the function instead"
            )
        await self._do(self._transport.runs.wind_on(left))

    def now(self) -> float:
        """Seconds of the wound clock."""
        return self._transport.runs.clock.now().timestamp()

    async def _do(self, work: Coroutine[Any, Any, T]) -> T:
        loop = self._transport.loop
        here = _running_loop()
        if not self._blocks:
            if here is loop:
                return await work
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))
        if here is loop:
            work.close()
            raise failed(
                "sync code of a test that runs on the harness's event loop asks for a run, and the harness needs that "
                "loop to answer: write the async form (await function.start(…), await run.result()), or call the sync "
                "code with await asyncio.to_thread(…)"
            )
        return asyncio.run_coroutine_threadsafe(work, loop).result()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class HarnessTransport:
    """A `Transport`. `take` accepts a batch; `life` is the current life of the simulated process."""

    def __init__(
        self, take: Callable[[EventBatch], Coroutine[Any, Any, None]], clock: Clock, runs: RunsOfHarness
    ) -> None:
        self._take = take
        self.runs = runs
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self.life = Deaths()
        self.deferred: deque[EventBatch] = deque()

    def open(self) -> None:
        """Accept events on the running loop from now on."""
        self._loop = asyncio.get_running_loop()

    def waiting_door(self) -> HarnessDoor:
        """The runs of the harness, for async code."""
        return HarnessDoor(self, blocks=False)

    def blocking_door(self) -> HarnessDoor:
        """The runs of the harness, for sync code."""
        return HarnessDoor(self, blocks=True)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop of the harness. Raises AssertionError before it is open."""
        if self._loop is None:
            raise failed("the harness is not open yet: write `async with Harness(app) as h` around it")
        return self._loop

    def called_by(self) -> Deaths | None:
        """The life whose function runs here; None: the test itself is calling."""
        transport, life = _CALLER.get() or (None, None)
        return life if transport is self else None

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
