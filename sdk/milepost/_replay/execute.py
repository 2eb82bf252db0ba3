"""Runs the body of one step: call it, carry the result through JSON, save it if asked to.

Written once, as a coroutine. The sync runner steps through it without ever suspending: whatever it awaits there is
done at once.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from milepost._values.current import in_body
from milepost._values.serializer import pack, unpack
from milepost.errors import CheckpointRefused, Interrupt

from .invocation import Invocation
from .ops import Op
from .requests import Step

__all__ = ["Bridge", "Checkpointer", "RunStateStore", "run_step"]


class Checkpointer(Protocol):
    """Takes finished steps before the function goes on."""

    async def save(self, ops: Sequence[Mapping[str, object]]) -> None:
        """Save the ops. Raises CheckpointRefused when they are not wanted."""
        ...


class RunStateStore(Checkpointer, Protocol):
    """Reaches the store of one run itself, where no server stands between: saves steps, and loads large state."""

    async def load(self) -> tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]:
        """The run's events, and its finished steps by id: what was too large for the call. May raise LookupError."""
        ...


class Bridge(Protocol):
    """How a runner waits: for awaitables, for a checkpointer, for its end."""

    def call(self, fn: Callable[..., object], /, *args: object, **kwargs: object) -> Awaitable[Any]:
        """Call `fn` and wait for what it returns, if that can be awaited."""
        ...

    def save(self, ops: Sequence[Op]) -> Awaitable[None]:
        """Hand ops to the checkpointer."""
        ...

    def stop(self) -> Awaitable[object]:
        """Let the function go no further; never returns."""
        ...


async def run_step(invocation: Invocation, step: Step, bridge: Bridge) -> object:
    """Run the body of a step and give its value, if the function is to go on with it."""
    call, what = step.call, invocation.call.what(step)
    assert call.body is not None
    if call.unresolved is not None:
        invocation.warn(
            f"{what} has the return annotation {call.unresolved!r}, whose names cannot be found at run time: "
            "its value comes back as plain JSON. Import the type at module level, not only for type checking."
        )
    started_at = invocation.now()
    token = in_body.set(step)
    try:
        value = await bridge.call(call.body, *call.args, **call.kwargs)
        data = pack(value, call.adapter, what)
        value = unpack(data, call.adapter, what)
    except BaseException as error:
        # Cancelled while it ran (a time-out around the step) is a failed attempt like any other; only when the
        # invocation is over already does it mean nothing.
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
    invocation.goes_on(step)
    return value


async def _save(invocation: Invocation, step: Step, bridge: Bridge) -> None:
    try:
        await bridge.save(invocation.unsaved)
    except CheckpointRefused as refused:
        if refused.stale:
            invocation.stale()
            await bridge.stop()
        invocation.save_failed()
        invocation.warn(f"{invocation.call.what(step)} could not be saved at once ({refused}); it is returned instead")
    except Exception as error:  # noqa: BLE001 - whatever fails, the answer carries the steps
        invocation.save_failed()
        invocation.warn(
            f"{invocation.call.what(step)} could not be saved at once ({type(error).__name__}: {error}); "
            "it is returned instead"
        )
    else:
        invocation.saved()
