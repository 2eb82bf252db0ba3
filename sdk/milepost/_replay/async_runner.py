"""Carries out an invocation of an async function on a worker's loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from milepost.errors import Interrupt
from milepost.protocol import DISCOVERY

from .execute import Checkpointer, run_step
from .invocation import UNKNOWN, Invocation, Move
from .ops import Op
from .requests import Step

if TYPE_CHECKING:
    from .calls import StepCall
    from .loop import Worker

__all__ = ["AsyncRunner"]

T = TypeVar("T")

CLEANUP_SECONDS: Final = 5.0
"""How long `finally:` blocks may take after the answer is decided."""

_ROUNDS: Final = 5
_MAX_REFUSED: Final = 10
_QUIET_GRACE_SECONDS: Final = 1.0
_BUSY_GRACE_SECONDS: Final = 30.0
"""How long a planned step that has not arrived is waited for: threads cannot be seen, sockets and timers can."""


class AsyncRunner:
    """One invocation on one loop."""

    def __init__(
        self, worker: Worker, checkpointer: Checkpointer | None, home: asyncio.AbstractEventLoop | None
    ) -> None:
        self._worker = worker
        self._loop = worker.loop
        self._checkpointer = checkpointer
        self._home = home
        self._go_live: Callable[[], Awaitable[None]] | None = None
        self.prepare: Callable[[Sequence[Op]], Awaitable[Sequence[Op]]] | None = None
        """Changes ops before they are saved (middleware)."""
        self._busy = False
        self._waited_since: float | None = None
        self._invocation: Invocation | None = None
        self._gave_up: asyncio.Future[None] = worker.loop.create_future()
        self._woken: asyncio.Task[Any] | None = None
        self._calls = self._timers = 0

    # --- the bridge ------------------------------------------------------------------------------------------------

    async def call(self, fn: Callable[..., object], /, *args: object, **kwargs: object) -> Any:
        result = fn(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    async def save(self, ops: Sequence[Op]) -> None:
        assert self._checkpointer is not None
        if self.prepare is not None:
            ops = await self.prepare(ops)
        saving = self._checkpointer.save([op.to_wire() for op in ops])
        if self._home is None:
            await saving
            return
        # The checkpointer belongs to the loop of whoever called the app.
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_as_coroutine(saving), self._home))

    async def stop(self) -> None:
        await self._loop.create_future()

    # --- driving the function -----------------------------------------------------------------------------------------

    async def drive(
        self,
        invocation: Invocation,
        function: Callable[[], Any],
        finish: Callable[[object], bytes],
        go_live: Callable[[], Awaitable[None]] | None,
    ) -> None:
        """Run the function until the invocation has its answer, then clear up after it."""
        self._invocation, self._go_live = invocation, go_live
        decided: asyncio.Future[None] = self._loop.create_future()
        invocation.on_answer = lambda: None if decided.done() else decided.set_result(None)
        self._worker.selector.idle = self._idle
        task = self._woken = self._loop.create_task(self._function(invocation, function, finish))
        self._calls, self._timers = self._loop.calls, self._loop.timers
        try:
            await decided
        finally:
            self._worker.selector.idle = self._woken = None
            await self._clear_up(invocation)
        del task

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the worker's loop to its end."""
        task = self._loop.create_task(work)
        while True:
            try:
                return self._loop.run_until_complete(task)
            except (SystemExit, KeyboardInterrupt) as error:
                # Raised in a task of the function's own, it stops the loop; for the run it is an error like others.
                if self._invocation is None or task.done():
                    raise
                self._invocation.raised(error)

    async def _function(
        self, invocation: Invocation, function: Callable[[], Any], finish: Callable[[object], bytes]
    ) -> None:
        try:
            data = finish(await function())
        except BaseException as error:
            if invocation.answer is not None:
                raise
            invocation.raised(error)
        else:
            if invocation.answer is not None:
                invocation.warn(_swallowed(invocation))
            invocation.returned(data)

    def recall(self, name: object, fn: object) -> object:
        """The value of a remembered step, if nothing is to be decided first; else UNKNOWN. See `Invocation.recall`."""
        invocation = self._invocation
        if invocation is None or not self._is_alone(asyncio.current_task(self._loop)):
            return UNKNOWN
        return invocation.recall(name, fn)

    async def take(self, call: StepCall) -> Any:
        """A step call: wait until it is decided, then run it here or give its remembered outcome."""
        invocation = self._invocation
        assert invocation is not None
        try:
            step = invocation.arrive(call)
        except Interrupt:
            if invocation.refused > _MAX_REFUSED:
                # Code that swallows every interrupt in a loop would never come to rest.
                if not self._gave_up.done():
                    self._gave_up.set_result(None)
                await self.stop()
            # What ends tasks on a loop; an exception of our own would be complained about by the loop.
            raise asyncio.CancelledError from None
        task = asyncio.current_task(self._loop)
        chosen: Step | None = None
        if self._is_alone(task):
            if invocation.follows(step):
                return invocation.outcome(step)
            chosen = self._decide(invocation, quiet=False)[1]
        if chosen is not step:
            await self._wait(invocation, step, task, chosen)
        if step.runs_here:
            return await run_step(invocation, step, self)
        return invocation.outcome(step)

    async def _wait(
        self, invocation: Invocation, step: Step, task: asyncio.Task[Any] | None, chosen: Step | None
    ) -> None:
        """Wait until a step is decided; `chosen` is another one that goes on first."""
        waiter: asyncio.Future[None] = self._loop.create_future()

        def wake() -> None:
            if not waiter.done():
                waiter.set_result(None)
                self._woken, self._calls = task, self._loop.calls

        step.wake = wake
        if chosen is not None:
            chosen.wake()
        try:
            await waiter
        except BaseException:
            invocation.abandon(step)
            raise

    def _is_alone(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether the function has this one task to run and nothing besides: then it is idle already.

        The task has begun the function, or was woken at an idle moment, when nothing waited its turn; and it has put
        nothing on the loop since. So a function that does one thing after the other needs no turn of the loop for each.
        """
        loop = self._loop
        return task is self._woken and loop.calls == self._calls and loop.timers == self._timers and not self._busy

    def _idle(self, timeout: float | None, watched: int) -> float | None:
        invocation = self._invocation
        if invocation is None or self._busy:
            return None
        looks = invocation.call.target == DISCOVERY
        quiet = looks or self._grace_is_over(timeout, watched)
        move, step = self._decide(invocation, quiet=quiet)
        if move is Move.NOTHING:
            return None if looks else _QUIET_GRACE_SECONDS
        self._waited_since = None
        if move is Move.GO_LIVE and self._go_live is not None:
            self._busy = True
            self._loop.create_task(self._come_alive(invocation, self._go_live))
        elif step is not None:
            step.wake()
        return 0.0

    def _decide(self, invocation: Invocation, *, quiet: bool) -> tuple[Move, Step | None]:
        move, step = invocation.decide(quiet=quiet)
        while move is Move.GO_LIVE and self._go_live is None:
            invocation.go_live()
            move, step = invocation.decide(quiet=quiet)
        return move, step

    def _grace_is_over(self, timeout: float | None, watched: int) -> bool:
        if self._waited_since is None:
            self._waited_since = self._loop.time()
        # The loop always watches one socket of its own.
        quiet = timeout is None and watched <= 1
        grace = _QUIET_GRACE_SECONDS if quiet else _BUSY_GRACE_SECONDS
        return self._loop.time() - self._waited_since >= grace

    async def _come_alive(self, invocation: Invocation, go_live: Callable[[], Awaitable[None]]) -> None:
        try:
            await go_live()
        except Exception as error:  # noqa: BLE001 - a middleware's error is the function's
            invocation.raised(error)
        finally:
            self._busy = False

    async def _clear_up(self, invocation: Invocation) -> None:
        """Cancel what the function has left running, and let it finish its `finally:` blocks."""
        began = self._loop.time()
        # A second time, for code that has caught the first.
        for ends_at in (began + CLEANUP_SECONDS / 2, began + CLEANUP_SECONDS):
            cancelled: set[asyncio.Task[Any]] = set()
            while (left := self._left()) and not self._gave_up.done():
                for task in left - cancelled:
                    task.cancel()
                cancelled |= left
                seconds = ends_at - self._loop.time()
                if seconds <= 0:
                    break
                if not await self._end_soon(left):
                    await asyncio.wait([*left, self._gave_up], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                for task in left:
                    if task.done() and not task.cancelled():
                        # Asked for, so that the loop does not complain that nobody did.
                        task.exception()
            if not left:
                return
        self._worker.left_behind |= self._left()
        invocation.warn(
            f"function {invocation.call.function_id!r}, run {invocation.call.run_id}, has tasks that do not end when "
            "they are cancelled; they are left behind. Let CancelledError pass."
        )

    async def _end_soon(self, tasks: Iterable[asyncio.Task[Any]]) -> bool:
        """Let cancelled tasks end, as nearly all do within a few turns; to wait for them takes a timer and more."""
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)
            if all(task.done() for task in tasks):
                return True
        return False

    def _left(self) -> set[asyncio.Task[Any]]:
        """Tasks of this invocation that have not ended."""
        tasks = {task for task in self._loop.tasks if not task.done()}
        return tasks - {asyncio.current_task(self._loop)} - self._worker.left_behind


async def _as_coroutine(awaitable: Awaitable[None]) -> None:
    await awaitable


def _swallowed(invocation: Invocation) -> str:
    return (
        f"function {invocation.call.function_id!r} caught the interrupt that ends an invocation and went on "
        f"(run {invocation.call.run_id}). What it did then is ignored. Write 'except Exception', not a bare except."
    )
