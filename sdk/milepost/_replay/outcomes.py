"""What a remembered step gives the function that calls it again: its value, or its error raised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeGuard, cast

from milepost._values.failure import read_failure
from milepost._values.serializer import revive
from milepost.errors import NonDeterminismError
from milepost.protocol import Opcode

from .calls import read_wait
from .requests import CallRequest, Step

__all__ = ["READERS", "is_input", "read_result"]

_MAPPING: Final = (dict, Mapping)
"""The check for a dict is immediate; for any other mapping it takes ten times as long."""


def is_input(memo: object) -> TypeGuard[Mapping[str, object]]:
    """Whether a replay gives this step new input (`{"input": …}`) instead of a result."""
    return isinstance(memo, _MAPPING) and len(cast("Mapping[str, object]", memo)) == 1 and "input" in memo


def read_result(request: CallRequest, step: Step, memo: object) -> object:
    """The value of `{"data": …}`, or the error of `{"error": …}` raised."""
    if isinstance(memo, _MAPPING):
        fields = cast("Mapping[str, object]", memo)
        if step.call.adapter is None and "data" in fields and "name" not in fields:
            return fields["data"]  # the most frequent case: a replay comes here for each step
        if "error" in fields and "name" not in fields:
            error = fields["error"]
            raise read_failure(
                cast("Mapping[str, object]", error) if isinstance(error, Mapping) else {"message": error}
            )
        if "data" in fields and "name" not in fields:
            adapter = step.call.adapter
            # Its name is built only where an error may need it: a replay comes here for each step.
            return fields["data"] if adapter is None else revive(fields["data"], adapter, request.what(step))
        raise _changed_kind(request, step, "an event")
    raise _changed_kind(request, step, "a sleep or a wait")


def _read_sleep(request: CallRequest, step: Step, memo: object) -> object:
    if memo is not None:
        raise _changed_kind(request, step, "a result")
    return None


def _read_event(request: CallRequest, step: Step, memo: object) -> object:
    if memo is None:
        return None
    if isinstance(memo, Mapping) and "name" in memo:
        return read_wait(step.call, cast("Mapping[str, object]", memo))
    raise _changed_kind(request, step, "a result")


def _changed_kind(request: CallRequest, step: Step, was: str) -> NonDeterminismError:
    return NonDeterminismError(
        f"step {step.call.name!r} {request.place} is a {_KINDS[step.call.opcode]} now, but the run remembers {was} "
        "under this id. Give the new step another id, or replay the run from its start."
    )


_KINDS: Final = {
    Opcode.STEP_RUN: "run step",
    Opcode.SLEEP: "sleep",
    Opcode.WAIT_FOR_EVENT: "wait for an event",
    Opcode.INVOKE_FUNCTION: "invoke",
}

READERS: Final[Mapping[Opcode, Callable[[CallRequest, Step, object], object]]] = {
    Opcode.STEP_RUN: read_result,
    Opcode.INVOKE_FUNCTION: read_result,
    Opcode.SLEEP: _read_sleep,
    Opcode.WAIT_FOR_EVENT: _read_event,
}
