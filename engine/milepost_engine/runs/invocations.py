"""Calls user code for a run: waits for the answer, or hands the call over to an app that reports its answer.

the app's timeout is short, or the call is a peek      called, and waited for
the app reports                                         handed over: its report is a message of its own
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, cast

from milepost_engine.codec import dumps
from milepost_engine.core.ids import to_ms, ulid
from milepost_engine.core.inputs import Call, InvocationFailed, InvocationReturned
from milepost_engine.core.opcodes import failure_text
from milepost_engine.core.run import Run
from milepost_engine.ports import Clock, Handover, InvocationProblem, Invoker, ProblemKind, RandomSource, Target
from milepost_engine.store.events import Event, EventStore
from milepost_engine.store.messages import CallToken
from milepost_engine.store.registry import Registry
from milepost_engine.store.values import Values

from .requests import INLINE_CALL_BYTES, build_request, is_peek
from .responses import problem_input, read_answer

__all__ = ["Invocations"]

_INLINE: Final = {"inprocess": float("inf")}
"""Within one process a call may carry any state."""

_INLINE_HANDED_OVER: Final = 100_000
"""Of the steps that a call carries. Lambda takes 1 MB, and the report of a failure repeats the call in a message."""


@dataclass(frozen=True, slots=True)
class Invocations:
    """See the module. `handovers` by kind of target: who can hand a call over."""

    events: EventStore
    registry: Registry
    values: Values
    invokers: Mapping[str, Invoker]
    handovers: Mapping[str, Handover]
    clock: Clock
    random_source: RandomSource
    signing_key: str | None = None

    async def make(
        self, run: Run, call: Call, owner: str, texts: dict[str, bytes]
    ) -> InvocationReturned | InvocationFailed | None:
        """Make an invocation. None: it was handed over. `texts`: the memoised steps as calls carry them, as known."""
        target = await self._target(run)
        if target is None:
            return _unserved(run, call)
        events = [await self.events.load(event_id) for event_id in run.event_ids]
        if any(event is None for event in events):
            error = failure_text("EventGone", f"The event {run.event_ids[0]} of run {run.run_id} was erased.")
            return InvocationFailed(call, error, no_retry=True)
        bodies = [dumps(cast("Event", event).wire()) for event in events]
        handover = self._handover(run, call.job, target)
        inline = _INLINE_HANDED_OVER if handover else _INLINE.get(target.kind, INLINE_CALL_BYTES)
        try:
            request = await build_request(
                run,
                call,
                bodies,
                self.values,
                request_id=self.fresh_id(),
                claim=owner,
                signing_key=self.signing_key,
                now=self.clock.now(),
                inline_bytes=inline,
                texts=texts,
            )
            if handover:
                await handover.hand_over(target, request, _call_token(run, call, owner).wire())
                return None
            response = await self.invokers[target.kind].invoke(target, request)
        except InvocationProblem as problem:
            return problem_input(call, problem, f"function {run.function_id}, run {run.run_id}, {target.address}")
        except LookupError as error:
            return InvocationFailed(call, failure_text("ValueGone", str(error)), no_retry=True)
        return read_answer(call, response, self.clock.now())

    def fresh_id(self) -> str:
        return ulid(to_ms(self.clock.now()), self.random_source.random_bytes(10))

    def _handover(self, run: Run, job: str, target: Target) -> Handover | None:
        return self.handovers.get(target.kind) if target.reports and not is_peek(run, job) else None

    async def _target(self, run: Run) -> Target | None:
        if not run.target:
            return await self._served(run.app_id)
        pinned = Target(str(run.target["kind"]), str(run.target["address"]), reports=bool(run.target.get("reports")))
        if pinned.reports:
            # An alias may lead to code by now that reports no more.
            served = (await self.registry.snapshot()).target_of(run.app_id)
            if served is not None and served.address == pinned.address:
                return served
        timeout = run.target.get("timeout")
        return pinned if timeout is None else replace(pinned, timeout_seconds=float(cast("float", timeout)))

    async def _served(self, app_id: str) -> Target | None:
        target = (await self.registry.snapshot()).target_of(app_id)
        if target is None:
            # What started the run may have read the registry later than this process did.
            self.registry.forget()
            target = (await self.registry.snapshot()).target_of(app_id)
        return target


def _call_token(run: Run, call: Call, owner: str) -> CallToken:
    return CallToken(run.run_id, run.function_id, call.job, call.attempt, owner, len(run.plans), to_ms(call.started_at))


def _unserved(run: Run, call: Call) -> InvocationFailed:
    error = failure_text(
        "AppUnknown",
        f"App {run.app_id!r} is not registered, so function {run.function_id!r} cannot be called. "
        "Serve the app again; the run continues with its next attempt.",
    )
    return InvocationFailed(call, {**error, "code": ProblemKind.MISSING})
