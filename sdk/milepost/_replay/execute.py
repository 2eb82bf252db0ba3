"""Runs the body of one step: calls it, round-trips the result through JSON and saves it if required.

Written once, as a coroutine. The sync runner steps through it without suspending: there, everything that it awaits
finishes at once.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from milepost._values.current import in_body
from milepost._values.json_types import JsonObject
from milepost._values.serializer import round_trip
from milepost.errors import CheckpointRefused, Interrupt, StepTimeoutError

from .calls import StepCall
from .ops import Op
from .replay import Invocation
from .requests import Step

__all__ = ["Bridge", "Checkpointer", "RunStateStore", "run_step"]


class Checkpointer(Protocol):
    """Saves finished steps in checkpoint mode, before the function continues."""

    async def save(self, ops: Sequence[Mapping[str, object]]) -> None:
        """Save the ops, as JSON objects of the wire protocol.

        Raises CheckpointRefused if the run does not accept them. After any other error they are returned in the
        response, and no further step runs.
        """
        ...


class RunStateStore(Checkpointer, Protocol):
    """Direct access to the store of one run, without a server in between: saves steps and loads large state."""

    async def load(self) -> tuple[Sequence[JsonObject], JsonObject]:
        """The run's events, and its finished steps by id: what was too large for the call. May raise LookupError."""
        ...


class Bridge(Protocol):
    """How a runner waits for a callable, for the checkpointer, and for the end of the invocation."""

    def call(self, fn: Callable[..., object], /, *args: object, **kwargs: object) -> Awaitable[object]:
        """Call `fn`; if its result is awaitable, wait for it."""
        ...

    def call_within(
        self,
        seconds: float,
        too_late: StepTimeoutError,
        fn: Callable[..., object],
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> Awaitable[object]:
        """The same, but raise `too_late` if it takes longer."""
        ...

    def save(self, ops: Sequence[Op]) -> Awaitable[None]:
        """Pass ops to the checkpointer."""
        ...

    def stop(self) -> Awaitable[object]:
        """Stop the function here; never returns."""
        ...


async def run_step(invocation: Invocation, step: Step, bridge: Bridge) -> object:
    """Run the body of a step and return its value, if the function may continue with it."""
    call, what = step.call, invocation.call.what(step)
    if call.unresolved is not None:
        invocation.warn(f"{what} {call.unresolved}")
    started_at = invocation.now()
    token = in_body.set(step)
    try:
        value = await _run_body(invocation, step, bridge)
        data, value = round_trip(value, call.adapter, what)
    except BaseException as error:
        # A body that is cancelled (by a timeout around the step) is a failed attempt like any other, unless the
        # invocation already has its answer.
        in_body.reset(token)
        invocation.failed(step, error, started_at)
        if isinstance(error, CancelledError | Interrupt):
            raise
        await bridge.stop()
        raise
    in_body.reset(token)
    _, saves = invocation.ran(step, data, started_at)
    if invocation.answer is not None:
        await bridge.stop()
    if saves:
        await _save(invocation, step, bridge)
    invocation.resumed(step)
    return value


async def _run_body(invocation: Invocation, step: Step, bridge: Bridge) -> object:
    call, rehearsal, what = step.call, invocation.rehearsal, invocation.call.what(step)
    if rehearsal is None:
        return await _call_body(call, what, bridge)
    rehearsal.began(call.name)
    try:
        return await _call_body(call, what, bridge)
    finally:
        rehearsal.ended(call.name)


async def _call_body(call: StepCall, what: str, bridge: Bridge) -> object:
    assert call.body is not None
    if call.timeout is None:
        return await bridge.call(call.body, *call.args, **call.kwargs)
    too_late = StepTimeoutError(
        f"{what} did not finish within its timeout of {call.timeout:g} s. Give what it calls a time limit, set a "
        "longer timeout=, or split the step."
    )
    return await bridge.call_within(call.timeout, too_late, call.body, call.args, call.kwargs)


async def _save(invocation: Invocation, step: Step, bridge: Bridge) -> None:
    try:
        await bridge.save(invocation.unsaved)
    except CheckpointRefused as refused:
        if refused.stale:
            invocation.stale()
            await bridge.stop()
        invocation.save_failed()
        invocation.warn(f"{invocation.call.what(step)} could not be saved at once ({refused}); the response carries it")
    except Exception as error:  # noqa: BLE001 - after any error the response carries the steps
        invocation.save_failed()
        invocation.warn(
            f"{invocation.call.what(step)} could not be saved at once ({type(error).__name__}: {error}); "
            "the response carries it"
        )
    else:
        invocation.saved()
