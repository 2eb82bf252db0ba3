"""What a remembered step gives the function that asks for it again: its value, or its error raised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeGuard, cast

from milepost._values.failure import read_failure
from milepost._values.serializer import revive
from milepost.protocol import Opcode

from .calls import read_wait

if TYPE_CHECKING:
    from .invocation import Invocation, Step

__all__ = ["READERS", "is_input", "read_result"]

_MAPPING: Final = (dict, Mapping)
"""A dict is known at once; any other mapping takes ten times as long to tell."""


def is_input(memo: object) -> TypeGuard[Mapping[str, object]]:
    """Whether a run that was started again has other input for a step, instead of a result."""
    return isinstance(memo, _MAPPING) and len(cast("Mapping[str, object]", memo)) == 1 and "input" in memo


def read_result(invocation: Invocation, step: Step, memo: object) -> object:
    """The value of `{"data": …}`, or the error of `{"error": …}` raised."""
    if isinstance(memo, _MAPPING):
        told = cast("Mapping[str, object]", memo)
        if step.call.adapter is None and len(told) == 1 and "data" in told:
            return told["data"]  # the commonest: a replay comes here for each step
        if "error" in told and "name" not in told:
            error = told["error"]
            raise read_failure(
                cast("Mapping[str, object]", error) if isinstance(error, Mapping) else {"message": error}
            )
        if "data" in told and "name" not in told:
            adapter = step.call.adapter
            # Its name is only put together where something may go wrong: a replay comes here for each step.
            return told["data"] if adapter is None else revive(told["data"], adapter, invocation.what(step))
        raise invocation.changed_kind(step, "an event")
    raise invocation.changed_kind(step, "a sleep or a wait")


def _read_sleep(invocation: Invocation, step: Step, memo: object) -> object:
    if memo is not None:
        raise invocation.changed_kind(step, "a result")
    return None


def _read_event(invocation: Invocation, step: Step, memo: object) -> object:
    if memo is None:
        return None
    if isinstance(memo, Mapping) and "name" in memo:
        return read_wait(step.call, cast("Mapping[str, object]", memo))
    raise invocation.changed_kind(step, "a result")


READERS: Final[Mapping[Opcode, Callable[[Invocation, Step, object], object]]] = {
    Opcode.STEP_RUN: read_result,
    Opcode.INVOKE_FUNCTION: read_result,
    Opcode.SLEEP: _read_sleep,
    Opcode.WAIT_FOR_EVENT: _read_event,
}
