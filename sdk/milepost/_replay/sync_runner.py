"""Runs an invocation of a sync function on a worker's thread.

Each branch of `step.parallel` has its own thread, and only one of them runs at a time: it passes the baton on when it
waits for a step. So steps are discovered, and resolve, exactly as with tasks on an event loop, and code in branches
needs no locks.

    main ──parallel──┐ (waits for its branches)
      branch 1 ──────▶ step a waits ─┐            ┌▶ a resolves … ends ─┐
      branch 2                       └▶ step b waits ┘                    └▶ b resolves … ends ─▶ main continues
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar, cast

from milepost._values.current import in_body
from milepost._values.stepping import as_coroutine, step_through
from milepost.errors import CodeError, Interrupt, NestedStepError, StepTimeoutError

from .branches import Branch
from .execute import Checkpointer, run_step
from .ops import Op
from .replay import UNKNOWN, Invocation, Move
from .time_limit import call_within

if TYPE_CHECKING:
    from .calls import StepCall
    from .loop import Worker

__all__ = ["SyncRunner"]

T = TypeVar("T")


class _Branch:
    """A line of execution: the function itself, or one branch of a `parallel`."""

    def __init__(self, work: Callable[[], object] | None = None, numbers: Branch | None = None) -> None:
        self.work = work
        self.numbers = numbers or Branch()
        self.baton = threading.Semaphore(0)
        self.started = work is None
        self.thread_id = threading.get_ident() if work is None else 0
        self.ready = False
        self.done = False
        self.result: object = None
        self.error: BaseException | None = None
        self.waits_for: list[_Branch] = []
        self.parent: _Branch | None = None


class SyncRunner:
    """One invocation, on one thread or on several that take turns."""

    def __init__(
        self, worker: Worker, checkpointer: Checkpointer | None, home: asyncio.AbstractEventLoop | None
    ) -> None:
        self._worker = worker
        self._checkpointer = checkpointer
        self._home = home
        self._go_live: Callable[[], Awaitable[None]] | None = None
        self.prepare: Callable[[Sequence[Op]], Awaitable[Sequence[Op]]] | None = None
        """Changes ops before they are saved (middleware)."""
        self._invocation: Invocation | None = None
        self._current = _Branch()
        self._ready: deque[_Branch] = deque()
        self._waiting: list[_Branch] = []
        self._stopped = False
        self.on_stuck: Callable[[], None] = lambda: None

    # --- the bridge ------------------------------------------------------------------------------------------------

    async def call(self, fn: Callable[..., object], /, *args: object, **kwargs: object) -> object:
        result = fn(*args, **kwargs)
        if inspect.isawaitable(result):
            return self._worker.loop.run_until_complete(as_coroutine(cast("Awaitable[object]", result)))
        return result

    async def call_within(
        self,
        seconds: float,
        too_late: StepTimeoutError,
        fn: Callable[..., object],
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> object:
        return self._worker.loop.run_until_complete(call_within(seconds, too_late, fn, args, kwargs))

    async def save(self, ops: Sequence[Op]) -> None:
        assert self._checkpointer is not None
        if self.prepare is not None:
            ops = await self.prepare(ops)
        saving = as_coroutine(self._checkpointer.save([op.to_wire() for op in ops]))
        if self._home is None:
            self._worker.loop.run_until_complete(saving)
        else:
            asyncio.run_coroutine_threadsafe(saving, self._home).result()

    async def stop(self) -> None:
        raise Interrupt

    # --- driving the function -----------------------------------------------------------------------------------------

    async def drive(
        self,
        invocation: Invocation,
        function: Callable[[], object],
        finish: Callable[[object], bytes],
        go_live: Callable[[], Awaitable[None]] | None,
    ) -> None:
        """Run the function until it ends: it returns or raises, or the interrupt stops it once there is an answer."""
        self._invocation, self._go_live = invocation, go_live
        try:
            data = finish(_not_awaitable(invocation, function()))
        except BaseException as error:  # noqa: BLE001 - any error of the function ends the invocation, not the worker
            invocation.raised(error)
            return
        if invocation.answer is not None:
            invocation.warn_interrupt_caught()
        invocation.returned(data)

    def run(self, work: Coroutine[object, None, T]) -> T:
        """Run a coroutine that never suspends."""
        return step_through(work)

    def use(self, name: object) -> int:
        """The number of a use of a step id in the branch that runs."""
        return self._current.numbers.use(name)

    def recall(
        self, use: int, name: object, fn: object, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> object:
        """The value of a remembered step if nothing must be decided first; else UNKNOWN. See `Invocation.recall`."""
        invocation = self._invocation
        if invocation is None or self._ready or self._current.thread_id != threading.get_ident():
            return UNKNOWN
        return invocation.recall(name, fn, use, args, kwargs)

    def take(self, use: int, call: StepCall) -> object:
        """Wait until a step call is decided, then run the step here or return its remembered outcome."""
        invocation = self._invocation
        assert invocation is not None
        branch = self._current
        if invocation.answer is None and in_body.get() is None and branch.thread_id != threading.get_ident():
            raise CodeError(
                f"step {call.name!r} of function {invocation.call.function_id!r} is called from a thread that your "
                "code started: call steps in the function itself, and use step.parallel for several at once"
            )
        try:
            step = invocation.arrive(call, use)
        except Interrupt:
            if invocation.stuck:
                # Code that catches every interrupt in a loop would never stop: answer without it, and block its
                # thread here.
                self.on_stuck()
                threading.Event().wait()
            raise
        if not self._ready and invocation.follows(step):
            return invocation.outcome(step)  # no other branch is ready, so this is an idle moment
        step.wake = lambda: self._make_ready(branch)
        self._wait(branch)
        if step.runs_here:
            return step_through(run_step(invocation, step, self))
        return invocation.outcome(step)

    def parallel(self, works: Sequence[Callable[[], object]]) -> tuple[object, ...]:
        """Run branches in parallel; when all have ended, return their results or raise the first error in order."""
        outer = in_body.get()
        if outer is not None:
            raise NestedStepError(
                f"step.parallel is called inside the body of step {outer.call.name!r}: call it in the function"
            )
        if self._stopped:
            raise Interrupt
        parent = self._current
        branches = [_Branch(work, parent.numbers.begin()) for work in works]
        for branch in branches:
            branch.parent = parent
        parent.waits_for = branches
        self._ready.extend(branches)
        if branches:
            self._wait(parent)
        for branch in branches:
            if branch.error is not None:
                raise branch.error
        return tuple(branch.result for branch in branches)

    # --- the baton ---------------------------------------------------------------------------------------------------

    def _make_ready(self, branch: _Branch) -> None:
        if not branch.ready:
            branch.ready = True
            self._ready.append(branch)

    def _wait(self, branch: _Branch) -> None:
        """Let other branches run until this one is ready. Raises Interrupt once the invocation has its answer."""
        self._waiting.append(branch)
        following = self._next_branch()
        if following is not branch:
            self._hand_to(following)
            branch.baton.acquire()
        self._waiting.remove(branch)
        self._current = branch
        branch.ready = False
        if self._stopped:
            raise Interrupt

    def _next_branch(self) -> _Branch:
        """The next branch to run; decides steps when none is ready."""
        invocation = self._invocation
        assert invocation is not None
        while not self._ready:
            move, step = invocation.decide()
            if move is Move.GO_LIVE:
                self._run_go_live(invocation)
            elif move is Move.ANSWERED:
                self._stop()
            elif step is not None:
                step.wake()
            else:
                raise RuntimeError("all branches are waiting, but for no step")
        return self._ready.popleft()

    def _run_go_live(self, invocation: Invocation) -> None:
        if self._go_live is None:
            invocation.go_live()
            return
        try:
            step_through(as_coroutine(self._go_live()))
        except Exception as error:  # noqa: BLE001 - a middleware's error fails the function
            invocation.raised(error)

    def _stop(self) -> None:
        self._stopped = True
        for branch in self._waiting:
            # A parent continues when its branches have ended, so that the innermost branches are stopped first.
            if all(inner.done for inner in branch.waits_for):
                self._make_ready(branch)

    def _hand_to(self, branch: _Branch) -> None:
        if branch.started:
            branch.baton.release()
            return
        branch.started = True
        context = copy_context()
        threading.Thread(
            target=context.run, args=(self._run_branch, branch), name="milepost-branch", daemon=True
        ).start()

    def _run_branch(self, branch: _Branch) -> None:
        branch.thread_id = threading.get_ident()
        self._current = branch
        try:
            if self._stopped or branch.work is None:
                raise Interrupt  # noqa: TRY301 - the invocation has its answer, so do not start
            branch.result = branch.work()
        except BaseException as error:  # noqa: BLE001 - raised again where the parent waits
            branch.error = error
        branch.done = True
        parent = branch.parent
        if parent is not None and all(inner.done for inner in parent.waits_for):
            self._make_ready(parent)
        self._hand_to(self._next_branch())


def _not_awaitable(invocation: Invocation, result: object) -> object:
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise CodeError(
            f"function {invocation.call.function_id!r} is a plain def that returned an awaitable: "
            "write it as async def; a decorator around it must be async def too, with functools.wraps"
        )
    return result
