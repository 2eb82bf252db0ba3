"""Runs an invocation of an async function on a worker's event loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeVar, cast

from milepost._values.stepping import as_coroutine
from milepost.errors import Interrupt, StepTimeoutError, UnawaitedStepError
from milepost.protocol import DISCOVERY

from .branches import Branch, current_branch
from .execute import Checkpointer, run_step
from .ops import Op
from .replay import UNKNOWN, Invocation, Move
from .requests import Step
from .time_limit import call_within

if TYPE_CHECKING:
    from .calls import StepCall
    from .loop import Worker

__all__ = ["AsyncRunner"]

T = TypeVar("T")

CLEANUP_SECONDS: Final = 5.0
"""How long `finally:` blocks may take once there is an answer."""

_ROUNDS: Final = 5
_MOST_CREATED: Final = 256
"""Calls that have ended are forgotten when there are more than these, or twice as many as were left the last time."""

_QUIET_GRACE_SECONDS: Final = 1.0
_BUSY_GRACE_SECONDS: Final = 30.0
"""How long to wait for a planned step that has not arrived. Sockets and timers can be seen, threads cannot."""


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
        self._stuck: asyncio.Future[object] = worker.loop.create_future()
        """Done when the function keeps catching the interrupt and will never stop."""
        self._woken: asyncio.Task[object] | None = None
        self._calls = self._timers = 0
        self._created: list[tuple[Coroutine[object, object, object], object]] = []
        self._most_created = _MOST_CREATED
        self._main = Branch()

    # --- the bridge ------------------------------------------------------------------------------------------------

    async def call(self, fn: Callable[..., object], /, *args: object, **kwargs: object) -> object:
        result = fn(*args, **kwargs)
        return cast("object", await result) if inspect.isawaitable(result) else result

    async def call_within(
        self,
        seconds: float,
        too_late: StepTimeoutError,
        fn: Callable[..., object],
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> object:
        return await call_within(seconds, too_late, fn, args, kwargs)

    async def save(self, ops: Sequence[Op]) -> None:
        assert self._checkpointer is not None
        if self.prepare is not None:
            ops = await self.prepare(ops)
        saving = self._checkpointer.save([op.to_wire() for op in ops])
        if self._home is None:
            await saving
            return
        # The checkpointer belongs to the loop of the app's caller.
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(as_coroutine(saving), self._home))

    async def stop(self) -> None:
        await self._loop.create_future()

    # --- driving the function -----------------------------------------------------------------------------------------

    async def drive(
        self,
        invocation: Invocation,
        function: Callable[[], object],
        finish: Callable[[object], bytes],
        go_live: Callable[[], Awaitable[None]] | None,
    ) -> None:
        """Run the function until the invocation has its answer, then clean up after it."""
        self._invocation, self._go_live = invocation, go_live
        decided: asyncio.Future[None] = self._loop.create_future()
        invocation.on_answer = lambda: None if decided.done() else decided.set_result(None)
        self._worker.selector.idle = self._idle
        task = self._woken = self._loop.create_task(self._run_function(invocation, function, finish))
        self._calls, self._timers = self._loop.calls, self._loop.timers
        try:
            await decided
        finally:
            self._worker.selector.idle = self._woken = None
            await self._clean_up(invocation)
        del task

    def run(self, work: Coroutine[object, None, T]) -> T:
        """Run a coroutine on the worker's loop to completion."""
        task = self._loop.create_task(work)
        while True:
            try:
                return self._loop.run_until_complete(task)
            except (SystemExit, KeyboardInterrupt) as error:
                # Raised in a task that the function started, it stops the loop; for the run it is an ordinary error.
                if self._invocation is None or task.done():
                    raise
                self._invocation.raised(error)

    async def _run_function(
        self, invocation: Invocation, function: Callable[[], object], finish: Callable[[object], bytes]
    ) -> None:
        current_branch.set(self._main)
        try:
            result = await cast("Awaitable[object]", function())
            self._refuse_unawaited(invocation)
            data = finish(result)
        except BaseException as error:
            if invocation.answer is not None:
                raise
            invocation.raised(error)
        else:
            if invocation.answer is not None:
                invocation.warn_interrupt_caught()
            invocation.returned(data)

    def use(self, name: object) -> int:
        """The number of a use of a step id in the branch that calls it."""
        return (current_branch.get() or self._main).use(name)

    def created(self, made: Coroutine[object, object, object], name: object) -> None:
        """A step was called; whoever called it has yet to await it."""
        if len(self._created) >= self._most_created:
            self._created = [
                pair for pair in self._created if inspect.getcoroutinestate(pair[0]) != inspect.CORO_CLOSED
            ]
            # Doubled: of thousands of parallel steps each would look through all the others.
            self._most_created = max(_MOST_CREATED, 2 * len(self._created))
        self._created.append((made, name))

    def _refuse_unawaited(self, invocation: Invocation) -> None:
        """Raise UnawaitedStepError for steps that were called but never awaited: their bodies would never run."""
        forgotten = [pair for pair in self._created if inspect.getcoroutinestate(pair[0]) == inspect.CORO_CREATED]
        if not forgotten:
            return
        for made, _ in forgotten:
            made.close()
        names = ", ".join(repr(name) for _, name in forgotten[:5])
        raise UnawaitedStepError(
            f"{'steps' if len(forgotten) > 1 else 'step'} {names} {invocation.call.place} "
            f"{'were' if len(forgotten) > 1 else 'was'} called but never awaited, so the code of the step did not run: "
            "write await before the call, or await several together with asyncio.gather"
        )

    def recall(
        self, use: int, name: object, fn: object, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> object:
        """The value of a remembered step if nothing must be decided first; else UNKNOWN. See `Invocation.recall`."""
        invocation = self._invocation
        if invocation is None or not self._is_alone(asyncio.current_task(self._loop)):
            return UNKNOWN
        return invocation.recall(name, fn, use, args, kwargs)

    async def take(self, use: int, call: StepCall) -> object:
        """Wait until a step call is decided, then run the step here or return its remembered outcome."""
        invocation = self._invocation
        assert invocation is not None
        try:
            step = invocation.arrive(call, use)
        except Interrupt:
            if invocation.stuck:
                # Code that catches every interrupt in a loop would never stop.
                if not self._stuck.done():
                    self._stuck.set_result(None)
                await self.stop()
            # This ends a task on a loop silently; the loop would log any other exception.
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
        self, invocation: Invocation, step: Step, task: asyncio.Task[object] | None, chosen: Step | None
    ) -> None:
        """Wait until a step is decided; `chosen` is another one that continues first."""
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

    def _is_alone(self, task: asyncio.Task[object] | None) -> bool:
        """Whether the function has this one task to run and nothing else: then it is idle already.

        The task started the function, or was woken at an idle moment, when nothing else was ready; and it has put
        nothing on the loop since. So a sequential function does not need an iteration of the loop for each step.
        """
        loop = self._loop
        return task is self._woken and loop.calls == self._calls and loop.timers == self._timers and not self._busy

    def _idle(self, timeout: float | None, watched: int) -> float | None:
        invocation = self._invocation
        if invocation is None or self._busy:
            return None
        discovers = invocation.call.target == DISCOVERY
        quiet = discovers or self._grace_is_over(timeout, watched)
        move, step = self._decide(invocation, quiet=quiet)
        if move is Move.NOTHING:
            return None if discovers else _QUIET_GRACE_SECONDS
        self._waited_since = None
        if move is Move.GO_LIVE and self._go_live is not None:
            self._busy = True
            self._loop.create_task(self._run_go_live(invocation, self._go_live))
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
        # The loop always watches a socket of its own.
        quiet = timeout is None and watched <= 1
        grace = _QUIET_GRACE_SECONDS if quiet else _BUSY_GRACE_SECONDS
        return self._loop.time() - self._waited_since >= grace

    async def _run_go_live(self, invocation: Invocation, go_live: Callable[[], Awaitable[None]]) -> None:
        try:
            await go_live()
        except Exception as error:  # noqa: BLE001 - a middleware's error fails the function
            invocation.raised(error)
        finally:
            self._busy = False

    async def _clean_up(self, invocation: Invocation) -> None:
        """Cancel the tasks that the function left running, and let their `finally:` blocks finish."""
        started_at = self._loop.time()
        # Twice, for code that caught the first cancellation.
        for ends_at in (started_at + CLEANUP_SECONDS / 2, started_at + CLEANUP_SECONDS):
            cancelled: set[asyncio.Task[object]] = set()
            while (left := self._left()) and not self._stuck.done():
                for task in left - cancelled:
                    task.cancel()
                cancelled |= left
                seconds = ends_at - self._loop.time()
                if seconds <= 0:
                    break
                if not await self._end_soon(left):
                    await asyncio.wait([*left, self._stuck], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                for task in left:
                    if task.done() and not task.cancelled():
                        # Retrieve the exception, so that the loop does not log it as never retrieved.
                        task.exception()
            if not left:
                return
        self._worker.left_behind |= self._left()
        invocation.warn(
            f"function {invocation.call.function_id!r}, run {invocation.call.run_id}, left tasks that did not end when "
            "they were cancelled; they keep running in the background. Do not catch CancelledError."
        )

    async def _end_soon(self, tasks: Iterable[asyncio.Task[object]]) -> bool:
        """Let cancelled tasks end: most do within a few iterations of the loop, cheaper than a wait with a timer."""
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)
            if all(task.done() for task in tasks):
                return True
        return False

    def _left(self) -> set[asyncio.Task[object]]:
        """Tasks of this invocation that have not ended."""
        tasks = {task for task in self._loop.tasks if not task.done()}
        return tasks - {asyncio.current_task(self._loop)} - self._worker.left_behind
