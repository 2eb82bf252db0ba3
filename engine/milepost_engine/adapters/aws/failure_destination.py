"""Reads the records of Lambda's on-failure destination: which handed-over invocation failed, and why.

    condition            what happened                                          kind
    RetriesExhausted     the function ran and failed: see `problem_of`          timeout, crashed
    EventAgeExceeded     it never began, or Lambda was at fault for too long    throttled: costs no attempt
    other, no payload    the function's reserved concurrency is zero            throttled
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
    """Whether a message is a record of Lambda's rather than a message of the engine's."""
    return isinstance(message, Mapping) and "requestContext" in message and "t" not in message


def read_record(record: Mapping[str, Any]) -> tuple[CallToken, InvocationProblem]:
    """The token of the failed invocation, and why it failed. Raises ValueError if the call was not Milepost's."""
    payload = record.get("requestPayload")
    token = cast("Mapping[str, Any]", payload).get("milepost") if isinstance(payload, Mapping) else None
    token = CallToken.read(cast("Mapping[str, Any]", token or {}))
    return token, _problem(str(record["requestContext"].get("condition", "")), record.get("responsePayload"))


def _problem(condition: str, response: object) -> InvocationProblem:
    if condition == _EXPIRED:
        return InvocationProblem(
            ProblemKind.THROTTLED,
            "Lambda was too busy to start the function in time. Raise the app's or the account's concurrency",
        )
    if response is None and condition != _RAN:
        return InvocationProblem(
            ProblemKind.THROTTLED,
            f"Lambda did not start the function ({condition}). Is the app's reserved concurrency zero?",
        )
    return problem_of(response)
