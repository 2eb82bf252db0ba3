"""Reads what Lambda's destination for failures sends: which invocation that was handed over failed, and why.

    condition            what happened                                          kind
    RetriesExhausted     the function ran and failed: see `problem_of`          timeout, crashed
    EventAgeExceeded     it never began, or Lambda itself was at fault for long throttled: costs no attempt
    other, no payload    the function's concurrency is reserved to be zero      throttled
Source: "Capturing records of Lambda asynchronous invocations" (the invocation record) and "How Lambda handles errors
and retries with asynchronous invocation" in the Lambda developer guide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from milepost_engine.ports import InvocationProblem, ProblemKind
from milepost_engine.store.messages import CallToken

from .invoke_lambda import problem_of

__all__ = ["is_record", "read_record"]

_RAN: Final = "RetriesExhausted"
_EXPIRED: Final = "EventAgeExceeded"


def is_record(message: object) -> bool:
    """Whether a message is Lambda's own, and none of the engine's."""
    return isinstance(message, Mapping) and "requestContext" in message and "t" not in message


def read_record(record: Mapping[str, Any]) -> tuple[CallToken, InvocationProblem]:
    """The token of the invocation that failed, and why. Raises ValueError when it was none of Milepost's."""
    payload = record.get("requestPayload")
    told = cast("Mapping[str, Any]", payload).get("milepost") if isinstance(payload, Mapping) else None
    token = CallToken.read(cast("Mapping[str, Any]", told or {}))
    return token, _problem(str(record["requestContext"].get("condition", "")), record.get("responsePayload"))


def _problem(condition: str, response: object) -> InvocationProblem:
    if condition == _EXPIRED:
        return InvocationProblem(
            ProblemKind.THROTTLED, "Lambda was too busy to begin in time. Raise the app's or the account's concurrency"
        )
    if response is None and condition != _RAN:
        return InvocationProblem(
            ProblemKind.THROTTLED, f"Lambda did not begin ({condition}). Is the app's reserved concurrency zero?"
        )
    return problem_of(response)
