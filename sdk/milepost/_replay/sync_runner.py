"""Carries out an invocation of a sync function on a worker's thread.

Branches of `step.parallel` are threads of their own, of which only ever one runs: it hands the baton on when it
waits for a step. So steps are found, and resolve, exactly as with tasks on an event loop, and code in branches needs
no locks.

    main ──parallel──┐ (waits for its branches)
      branch 1 ──────▶ step a waits ─┐            ┌▶ a resolves … ends ─┐
      branch 2                       └▶ step b waits ┘                    └▶ b resolves … ends ─▶ main goes on
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from milepost._values.current import in_body
from milepost._values.stepping import step_through
from milepost.errors import CodeError, Interrupt, NestedStepError

from .execute import Checkpointer, run_step
from .invocation import UNKNOWN, Invocation, Move
from .ops import Op

if TYPE_CHECKING:
    from .calls import StepCall
    from .loop import Worker

__all__ = ["SyncRunner"]

T = TypeVar("T")

_MAX_REFUSED: Final = 10


class _Branch:
    """A line of execution: the function itself, or one branch of a `parallel`."""

    def __init__(self, work: Callable[[], object] | None = None) -> None:
        self.work = work
        self.baton = threading.Semaphore(0)
        self.started = work is None
        self.thread_id = threading.get_ident() if work is None else 0
        self.may_go = False
        self.done = False
        self.result: object = None
        self.error: BaseException | None = None
        self.waits_for: list[_Branch] = []
        self.parent: _Branch | None = None


class SyncRunner:
    """One invocation on one thread, or on several that take turns."""

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

    async def call(self, fn: Callable[..., object], /, *args: object, **kwargs: object) -> Any:
        result = fn(*args, **kwargs)
        return self._worker.loop.run_until_complete(_as_coroutine(result)) if inspect.isawaitable(result) else result

    async def save(self, ops: Sequence[Op]) -> None:
        assert self._checkpointer is not None
        if self.prepare is not None:
            ops = await self.prepare(ops)
        saving = _as_coroutine(self._checkpointer.save([op.to_wire() for op in ops]))
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
        function: Callable[[], Any],
        finish: Callable[[object], bytes],
        go_live: Callable[[], Awaitable[None]] | None,
    ) -> None:
        """Run the function until it ends, by itself or by the interrupt that follows the answer."""
        self._invocation, self._go_live = invocation, go_live
        try:
            data = finish(_not_awaitable(invocation, function()))
        except BaseException as error:  # noqa: BLE001 - whatever it raises ends the invocation, not the worker
            invocation.raised(error)
            return
        if invocation.answer is not None:
            invocation.warn(
                f"function {invocation.call.function_id!r} caught the interrupt that ends an invocation and went on "
                f"(run {invocation.call.run_id}). What it did then is ignored. "
                "Write 'except Exception', not a bare except."
            )
        invocation.returned(data)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that never suspends."""
        return step_through(work)

    def recall(self, name: object, fn: object) -> object:
        """The value of a remembered step, if nothing is to be decided first; else UNKNOWN. See `Invocation.recall`."""
        invocation = self._invocation
        if invocation is None or self._ready or self._current.thread_id != threading.get_ident():
            return UNKNOWN
        return invocation.recall(name, fn)

    def take(self, call: StepCall) -> Any:
        """A step call: wait until it is decided, then run it here or give its remembered outcome."""
        invocation = self._invocation
        assert invocation is not None
        branch = self._current
        if invocation.answer is None and in_body.get() is None and branch.thread_id != threading.get_ident():
            raise CodeError(
                f"step {call.name!r} of function {invocation.call.function_id!r} is called from a thread of your own: "
                "call steps in the function itself, and use step.parallel for several at once"
            )
        try:
            step = invocation.arrive(call)
        except Interrupt:
            if invocation.refused > _MAX_REFUSED:
                # Code that swallows every interrupt in a loop would never come to rest: answer without it, and
                # leave the thread to it.
                self.on_stuck()
                threading.Event().wait()
            raise
        if not self._ready and invocation.follows(step):
            return invocation.outcome(step)  # with no other line that could run, this is an idle moment
        step.wake = lambda: self._let_go(branch)
        self._wait(branch)
        if step.runs_here:
            return step_through(run_step(invocation, step, self))
        return invocation.outcome(step)

    def parallel(self, works: Sequence[Callable[[], Any]]) -> tuple[Any, ...]:
        """Run branches side by side; when all have ended, give their results or raise the first error in order."""
        outer = in_body.get()
        if outer is not None:
            raise NestedStepError(
                f"step.parallel is called inside the body of step {outer.call.name!r}: call it in the function"
            )
        if self._stopped:
            raise Interrupt
        parent = self._current
        branches = [_Branch(work) for work in works]
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

    def _let_go(self, branch: _Branch) -> None:
        if not branch.may_go:
            branch.may_go = True
            self._ready.append(branch)

    def _wait(self, branch: _Branch) -> None:
        """Let others run until this branch may go on. Raises Interrupt once the invocation is decided."""
        self._waiting.append(branch)
        following = self._choose()
        if following is not branch:
            self._hand_to(following)
            branch.baton.acquire()
        self._waiting.remove(branch)
        self._current = branch
        branch.may_go = False
        if self._stopped:
            raise Interrupt

    def _choose(self) -> _Branch:
        """The next branch to run; decides steps when none is ready."""
        invocation = self._invocation
        assert invocation is not None
        while not self._ready:
            move, step = invocation.decide()
            if move is Move.GO_LIVE:
                self._come_alive(invocation)
            elif move is Move.ANSWERED:
                self._stop()
            elif step is not None:
                step.wake()
            else:
                raise RuntimeError("all branches wait, for no step")
        return self._ready.popleft()

    def _come_alive(self, invocation: Invocation) -> None:
        if self._go_live is None:
            invocation.go_live()
            return
        try:
            step_through(cast("Coroutine[Any, Any, None]", self._go_live()))
        except Exception as error:  # noqa: BLE001 - a middleware's error is the function's
            invocation.raised(error)

    def _stop(self) -> None:
        self._stopped = True
        for branch in self._waiting:
            # A parent goes on when its branches have ended, so that each line is unwound from its inside.
            if all(inner.done for inner in branch.waits_for):
                self._let_go(branch)

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
                raise Interrupt  # noqa: TRY301 - not started any more
            branch.result = branch.work()
        except BaseException as error:  # noqa: BLE001 - raised again where the parent waits
            branch.error = error
        branch.done = True
        parent = branch.parent
        if parent is not None and all(inner.done for inner in parent.waits_for):
            self._let_go(parent)
        self._hand_to(self._choose())


def _not_awaitable(invocation: Invocation, result: object) -> object:
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise CodeError(
            f"function {invocation.call.function_id!r} is a plain def that returned something to await: "
            "write it as async def, or give its decorator functools.wraps and async def too"
        )
    return result


async def _as_coroutine(awaitable: Any) -> Any:
    return await awaitable
