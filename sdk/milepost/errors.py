"""All errors, by what the caller does next.

    MilepostError
    ├── TransientError            try again
    │   ├── RetryAfterError       raised by your code: try again, not before a moment
    │   └── SendError             events or steps could not be handed over
    ├── FinalError                give up: the same call cannot end differently
    │   ├── NonRetriableError     raised by your code: do not try again
    │   ├── StepError             a step failed for good; catch it, or the run fails
    │   ├── EventMismatchError    data that does not fit the event's model
    │   ├── EventRefusedError     the server does not take an event
    │   └── PayloadTooLargeError  an event, a step result or an answer over its limit
    ├── CodeError                 fix the code
    │   ├── ConfigError           at import: ids, triggers, retries, durations …
    │   │   ├── BadDurationError, BadIdError, BadRetriesError, BadTriggerError,
    │   │   └── DuplicateFunctionError, FlowControlUnsupportedError, ReservedEventNameError
    │   ├── NestedStepError       a step inside a step
    │   ├── NonDeterminismError   the code no longer does what the run remembers
    │   └── NotSerializableError  a value that JSON cannot carry
    ├── RequestError              a request that the app does not serve
    │   └── SignatureError
    └── CheckpointRefused         the server does not take steps of this invocation

    Interrupt (BaseException)     ends your function once an invocation has found all it can; never catch it

Every class has a stable `code`. Final and code errors are never retried inside a run.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from .protocol import MAX_RETRY_AFTER, parse_duration

__all__ = [
    "BadDurationError",
    "BadIdError",
    "BadRetriesError",
    "BadTriggerError",
    "CheckpointRefused",
    "CodeError",
    "ConfigError",
    "DuplicateFunctionError",
    "EventMismatchError",
    "EventRefusedError",
    "FinalError",
    "FlowControlUnsupportedError",
    "Interrupt",
    "MilepostError",
    "NestedStepError",
    "NonDeterminismError",
    "NonRetriableError",
    "NotSerializableError",
    "PayloadTooLargeError",
    "RequestError",
    "ReservedEventNameError",
    "RetryAfterError",
    "SendError",
    "SignatureError",
    "StepError",
    "TransientError",
]


class MilepostError(Exception):
    """Base of all errors of this package."""

    code: ClassVar[str] = "milepost_error"


class TransientError(MilepostError):
    """The same call may succeed later."""

    code = "transient"


class RetryAfterError(TransientError):
    """Raise it in a function or a step to be tried again, not before `retry_after`.

    Args:
        message: What went wrong.
        retry_after: A duration (timedelta, a text such as `"30s"`, or seconds) or an aware datetime. It is kept within
            1 s and 24 h.

    It counts as an attempt like any other error. Raises BadDurationError, with the message, for anything else.
    """

    code = "retry_after"

    def __init__(self, message: str, retry_after: timedelta | str | float | datetime) -> None:
        super().__init__(message)
        self.retry_after: timedelta | datetime = _read_wish(message, retry_after)

    def due_at(self, now: datetime) -> datetime:
        """The moment from which to try again, in UTC; at most 24 hours from now."""
        return now.astimezone(UTC) + self._wait(now)

    def header(self, now: datetime) -> str:
        """The value of the `retry-after` header: whole seconds, rounded up."""
        return str(math.ceil(self._wait(now).total_seconds()))

    def _wait(self, now: datetime) -> timedelta:
        wish = self.retry_after
        wait = wish - now if isinstance(wish, datetime) else wish
        return min(max(wait, timedelta(0)), MAX_RETRY_AFTER)


def _read_wish(message: str, given: object) -> timedelta | datetime:
    """What `RetryAfterError` was given, read where it is made: there the traceback shows the line to mend."""
    where = f"RetryAfterError({message!r}, …)"
    if isinstance(given, datetime):
        if given.tzinfo is None:
            raise BadDurationError(
                f"retry_after {given.isoformat()} of {where} has no time zone: give an aware datetime or a timedelta"
            )
        return given
    if isinstance(given, str):
        try:
            return parse_duration(given)
        except ValueError as error:
            raise BadDurationError(f"retry_after of {where} is not a duration: {error}") from None
    if isinstance(given, timedelta):
        return given
    if isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given):
        # A number from elsewhere may be larger than any date; what is past is due at once.
        return timedelta(seconds=min(max(given, 0), MAX_RETRY_AFTER.total_seconds()))
    raise BadDurationError(
        f"retry_after of {where} is {given!r}: give a timedelta, seconds, a text such as '30s', or an aware datetime"
    )


class SendError(TransientError):
    """Events could not be handed over; `ids` are those that were, in order. Send the rest again."""

    code = "send_failed"

    def __init__(self, message: str, ids: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.ids = ids


class FinalError(MilepostError):
    """The same call cannot end differently: it is not retried."""

    code = "final"


class NonRetriableError(FinalError):
    """Raise it in a function to fail the run at once, or in a step to fail the step at once.

    `data` is anything JSON can carry; it arrives as `StepError.data`.
    """

    code = "non_retriable"

    def __init__(self, message: str, *, data: object = None) -> None:
        super().__init__(message)
        self.data = data


class StepError(FinalError):
    """A step failed for good: its last attempt failed, it asked for no retry, or an invoked function failed.

    Raised where the step is called, in every later invocation alike. Catch it to go on; uncaught it fails the run
    with the original name, message and stack.

    Attributes:
        name: Class name of the original error.
        message: Its text.
        stack: Its traceback, as text; may be empty.
        data: What `NonRetriableError(data=…)` carried, else None.
        cause: The error it was raised from, if the server kept it.
    """

    code = "step_failed"

    def __init__(
        self, message: str, *, name: str = "Error", stack: str = "", data: object = None, cause: StepError | None = None
    ) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.stack = stack
        self.data = data
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


class EventMismatchError(FinalError):
    """The data of an event does not fit the model that its `Event` declares."""

    code = "event_mismatch"


class EventRefusedError(FinalError):
    """The server does not take an event; `ids` are those of the events before it, which it took."""

    code = "event_refused"

    def __init__(self, message: str, ids: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.ids = ids


class PayloadTooLargeError(FinalError):
    """An event over 3 MiB, a step result over 4 MiB or an answer over 8 MiB, as JSON."""

    code = "payload_too_large"


class CodeError(MilepostError):
    """The code must change; trying again does not help."""

    code = "code"


class ConfigError(CodeError):
    """Something is declared wrongly. Raised while your module is imported, where possible."""

    code = "config"


class BadDurationError(ConfigError):
    """Not a duration, or outside its limits."""

    code = "bad_duration"


class BadIdError(ConfigError):
    """An id of an app, a function or a step that cannot be used."""

    code = "bad_id"


class BadRetriesError(ConfigError):
    """A retry policy outside its limits."""

    code = "bad_retries"


class BadTriggerError(ConfigError):
    """A trigger, a cron line or a cancellation that cannot be used."""

    code = "bad_trigger"


class DuplicateFunctionError(ConfigError):
    """Two functions of one app have the same id."""

    code = "duplicate_function"


class FlowControlUnsupportedError(ConfigError):
    """A flow-control option that this version does not have. It is refused, never ignored."""

    code = "flow_control_unsupported"


class ReservedEventNameError(ConfigError):
    """Event names that begin with `inngest/` belong to the engine; they can be listened to, not sent."""

    code = "reserved_event_name"


class NestedStepError(CodeError):
    """A step was called inside the body of another step."""

    code = "nested_step"


class NonDeterminismError(CodeError):
    """A step that the run remembers has changed its kind."""

    code = "non_determinism"


class NotSerializableError(CodeError):
    """A result of a step or function, or data for an event or invoke, that JSON cannot carry."""

    code = "not_serializable"


class RequestError(MilepostError):
    """A request that the app cannot serve; `status` is the HTTP status it is answered with."""

    code = "bad_request"

    def __init__(self, message: str, *, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = code or type(self).code


class SignatureError(RequestError):
    """The signature of a request is missing, wrong or older than five minutes."""

    code = "signature_verification_failed"

    def __init__(self, message: str) -> None:
        super().__init__(message, status=401)


class CheckpointRefused(MilepostError):
    """Raised by a checkpointer: the server does not take steps of this invocation.

    `stale`: another invocation has taken over, so this one stops at once. Otherwise the steps are returned in the
    answer, as in step mode.
    """

    code = "checkpoint_refused"

    def __init__(self, reason: str = "another invocation has taken over", *, stale: bool = True) -> None:
        super().__init__(reason)
        self.stale = stale


class Interrupt(BaseException):
    """Ends a function whose invocation has found all it can. Raised through your code; let it pass."""
