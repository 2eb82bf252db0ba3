"""Calls user code on the stepped loop: the SDK's decisions, step bodies and answers, without its threads.

`SteppedApp` stands in for `milepost.App` behind the engine's own in-process invoker. Only the runner differs from the
SDK's: it, too, asks the SDK's `Invocation` what comes next whenever the loop has nothing else to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic_core import from_json

from milepost import App, Context
from milepost._declare.function import Function
from milepost._declare.triggers import received_event
from milepost._replay.branches import Branch
from milepost._replay.calls import StepCall
from milepost._replay.execute import Checkpointer, run_step
from milepost._replay.ops import Op
from milepost._replay.replay import UNKNOWN, Invocation, Move
from milepost._replay.requests import CallRequest, Step
from milepost._replay.step_tools import Steps
from milepost._serve.answer import write_answer
from milepost._values.serializer import pack
from milepost.errors import Interrupt
from milepost.protocol import DISCOVERY, Request, Response

from .stepped_loop import TASKS, SteppedLoop

__all__ = ["SteppedApp"]

_BUDGET: Final = timedelta(seconds=55)


class _Runner:
    """One invocation on a loop that it shares with others."""

    def __init__(self, loop: SteppedLoop, invocation: Invocation, checkpointer: Checkpointer | None) -> None:
        self._loop = loop
        self._invocation = invocation
        self._checkpointer = checkpointer
        self._tasks: list[asyncio.Task[Any]] = []
        self._branch = Branch()

    # --- what steps and bodies ask --------------------------------------------------------------------------------

    def created(self, made: object, name: object) -> None:
        """Not noted: the stories await every step."""

    def use(self, name: object) -> int:
        """No story uses one name in several branches."""
        return self._branch.use(name)

    def recall(self, *_: object) -> object:
        return UNKNOWN

    async def call(self, fn: Callable[..., Any], /, *args: object, **kwargs: object) -> Any:
        result = fn(*args, **kwargs)
        return await result if asyncio.iscoroutine(result) else result

    async def call_within(self, *_: object) -> object:
        raise NotImplementedError("the stories have no timeouts")

    async def save(self, ops: Sequence[Op]) -> None:
        assert self._checkpointer is not None
        await self._checkpointer.save([op.to_wire() for op in ops])

    async def stop(self) -> None:
        await self._loop.create_future()

    async def take(self, use: int, call: StepCall) -> Any:
        """A step call: wait until it is decided, then run it or give its remembered outcome."""
        try:
            step = self._invocation.arrive(call, use)
        except Interrupt:
            raise asyncio.CancelledError from None
        await self._decided(step)
        return await run_step(self._invocation, step, self) if step.runs_here else self._invocation.outcome(step)

    async def _decided(self, step: Step) -> None:
        waiter = self._loop.create_future()
        step.wake = lambda: _settle(waiter)
        try:
            await waiter
        except BaseException:
            self._invocation.abandon(step)
            raise

    # --- driving the function -------------------------------------------------------------------------------------

    async def drive(self, function: Callable[[], Any]) -> None:
        """Run the function until the invocation has its answer."""
        invocation = self._invocation
        if not invocation.remembers:
            invocation.go_live()
        decided = self._loop.create_future()
        invocation.on_answer = lambda: _settle(decided)
        token = TASKS.set(self._tasks)
        self._loop.create_task(self._function(function))
        TASKS.reset(token)
        self._loop.idlers[self._idle] = None
        try:
            await decided
        finally:
            self._loop.idlers.pop(self._idle, None)
            for task in self._tasks:
                task.cancel()

    async def _function(self, function: Callable[[], Any]) -> None:
        try:
            output = pack(await function(), None, "the function")
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - what the function raised is its answer
            self._invocation.raised(error)
        else:
            self._invocation.returned(output)

    def _idle(self) -> bool:
        """Let the SDK decide what the function waits for; whether there was something to decide."""
        invocation = self._invocation
        if invocation.answer is not None:
            return False
        move, step = invocation.decide(quiet=True)
        if move is Move.GO_LIVE:
            invocation.go_live()
            move, step = invocation.decide(quiet=True)
        if step is not None:
            step.wake()
        return move is not Move.NOTHING


class SteppedApp:
    """An app whose functions run on the stepped loop. `calling` is told which target is called, before it is."""

    def __init__(
        self, app: App, loop: SteppedLoop, now: Callable[[], datetime], calling: Callable[[str], None]
    ) -> None:
        self._app, self._loop, self._now, self._calling = app, loop, now, calling

    async def handle(
        self, request: Request, *, checkpointer: Checkpointer | None = None, authenticated: bool = False
    ) -> Response:
        """Serve one call."""
        body: dict[str, Any] = from_json(request.body)
        function = self._app.functions[request.query["fnId"]]
        call = _read_call(function, body, request.query.get("stepId") or DISCOVERY)
        self._calling(call.target)
        saves = checkpointer is not None and function.mode == "checkpoint" and bool(_extension(body).get("checkpoint"))
        invocation = Invocation(call, now=self._now, warn=_ignored, saves=saves, budget=_BUDGET)
        runner = _Runner(self._loop, invocation, checkpointer)
        if invocation.answer is None:
            context = _context(function, call, body, runner)
            await runner.drive(lambda: function.handler(context))
        assert invocation.answer is not None
        return write_answer(invocation.answer, call, self._now())


def _read_call(function: Function[Any, Any], body: dict[str, Any], target: str) -> CallRequest:
    context = body["ctx"]
    return CallRequest(
        function_id=function.slug,
        run_id=str(context["run_id"]),
        attempt=int(context["attempt"]),
        max_attempts=context["max_attempts"],
        target=target,
        order=tuple(context["stack"]["stack"]),
        memos=body["steps"],
        may_run_steps=not context["disable_immediate_execution"],
        may_continue=True,
        mode=function.mode,
    )


def _context(function: Function[Any, Any], call: CallRequest, body: dict[str, Any], runner: _Runner) -> Context[Any]:
    events = tuple(received_event(raw, (), "the explorer") for raw in body["events"])
    steps = Steps(runner, lambda _: None, ())  # type: ignore[arg-type]  # a runner of its own, and no events sent
    most = call.max_attempts or 0
    no_logger: Any = None
    return Context(events[0], events, call.run_id, call.attempt, most, function.slug, no_logger, None, steps)


def _extension(body: dict[str, Any]) -> dict[str, Any]:
    return dict(body["ctx"].get("milepost") or {})


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _ignored(_: str) -> None:
    """Warnings of the SDK are not what is explored."""
