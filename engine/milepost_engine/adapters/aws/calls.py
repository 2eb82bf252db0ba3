"""How an AWS operation is called, how it can fail, and when it is retried.

Law: a call is sent again only if AWS says that it changed nothing (throttled, conflicting transaction), if it never
left this machine, or if the caller declared it `repeatable`. A conditional write whose answer was lost is never
repeated: its condition would fail because the first one succeeded.

    answer ─────────────────────────► returned
    error: did nothing ─────────────► again, at most `attempts` times ──► AwsRefused, did_nothing=True
    error: AWS is at fault (5xx) ───► again if repeatable ──────────────► AwsRefused
    error: the request is at fault ─► AwsRefused
    no answer ──────────────────────► again if repeatable or not sent ──► AwsUnreachable
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from milepost_engine.ports import Clock, RandomSource

__all__ = ["AwsAnswer", "AwsRefused", "AwsRetries", "AwsUnreachable", "Caller", "with_retries"]

AwsAnswer = dict[str, Any]
_T = TypeVar("_T")

_DID_NOTHING: Final = frozenset({
    "LimitExceededException",
    "OverLimit",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionConflictException",
})  # fmt: skip
_CANCELLED_FOR_NOW: Final = frozenset({
    "None",
    "ProvisionedThroughputExceeded",
    "ThrottlingError",
    "TransactionConflict",
})  # fmt: skip


class AwsRefused(Exception):
    """AWS answered with an error.

    `code` is AWS's error code; `details` is the whole answer; if `did_nothing`, a later retry is safe and useful.
    """

    def __init__(self, operation: str, code: str, message: str, status: int, details: Mapping[str, Any]) -> None:
        super().__init__(f"{operation}: {code} ({status}): {message}")
        self.operation = operation
        self.code = code
        self.message = message
        self.status = status
        self.details = details

    @property
    def did_nothing(self) -> bool:
        """Whether AWS was too busy and changed nothing."""
        if self.code == "TransactionCanceledException":
            codes = {reason.get("Code", "None") for reason in self.details.get("CancellationReasons", ())}
            return codes != {"None"} and bool(codes) and codes <= _CANCELLED_FOR_NOW
        return self.code in _DID_NOTHING


class AwsUnreachable(Exception):
    """No answer came. If `sent`, the call may or may not have taken effect; otherwise it did not."""

    def __init__(self, operation: str, detail: str, *, sent: bool) -> None:
        super().__init__(f"{operation}: no answer from AWS: {detail}")
        self.operation = operation
        self.sent = sent


class Caller(Protocol):
    """Calls the operations of one AWS service. Raises AwsRefused and AwsUnreachable, nothing else."""

    async def call(self, operation: str, request: Mapping[str, Any], *, repeatable: bool) -> AwsAnswer:
        """`request` and the answer are as in the service's API reference; binary values are bytes."""
        ...


@dataclass(frozen=True, slots=True)
class AwsRetries:
    """How many attempts, and the pause between them: full jitter over an exponentially growing, capped time."""

    clock: Clock
    random_source: RandomSource
    attempts: int = 5
    first_seconds: float = 0.05
    longest_seconds: float = 1.0

    def pause_after(self, attempt: int) -> float:
        """Seconds to wait after this attempt, counted from 0."""
        return self.random_source.uniform() * min(self.longest_seconds, self.first_seconds * float(2**attempt))


async def with_retries(attempt: Callable[[], Awaitable[_T]], retries: AwsRetries, *, repeatable: bool) -> _T:
    """Repeats the attempt until it succeeds or may not be repeated; raises what the last one raised."""
    for number in range(retries.attempts):
        try:
            return await attempt()
        except (AwsRefused, AwsUnreachable) as failure:
            if number + 1 == retries.attempts or not _may_repeat(failure, repeatable=repeatable):
                raise
        await retries.clock.sleep(retries.pause_after(number))
    raise AssertionError("attempts is at least 1")


def _may_repeat(failure: AwsRefused | AwsUnreachable, *, repeatable: bool) -> bool:
    if isinstance(failure, AwsUnreachable):
        return repeatable or not failure.sent
    return failure.did_nothing or (repeatable and failure.status >= 500)
