"""All errors, by what the caller does next.

    MilepostError
    ├── TransientError            retry: the same call may succeed later
    │   ├── RetryAfterError       raised by your code: retry, but not before a given moment
    │   ├── ResultTimeoutError    a run has not ended within the timeout of result()
    │   ├── SendError             events or steps could not be delivered
    │   └── StepTimeoutError      an attempt of a step took longer than its timeout=
    ├── FinalError                do not retry: the same call would fail again
    │   ├── NonRetriableError     raised by your code: do not retry
    │   ├── StepError             a step failed for good; catch it, or the run fails
    │   ├── EventLoopError        functions that start each other without end
    │   ├── EventMismatchError    data that does not match the event's model
    │   ├── EventRefusedError     the server refused an event
    │   ├── PayloadTooLargeError  an event, a step result or a response over its limit
    │   ├── RunCancelledError     the run whose result() was asked for was cancelled
    │   ├── RunFailedError        the run whose result() was asked for failed
    │   └── RunRefusedError       the server refused to start, show or cancel a run
    ├── CodeError                 fix the code
    │   ├── ConfigError           at import: ids, triggers, retries, durations …
    │   │   ├── BadDurationError, BadIdError, BadRetriesError, BadTriggerError,
    │   │   └── DuplicateFunctionError, FlowControlUnsupportedError, ReservedEventNameError
    │   ├── NestedStepError       a step inside a step
    │   ├── UnawaitedStepError    a step that is called without await
    │   ├── NonDeterminismError   the code contradicts the run's history
    │   └── NotSerializableError  a value that JSON cannot represent
    ├── RequestError              a request that the app cannot serve
    │   └── SignatureError        its signature is missing or invalid
    └── CheckpointRefused         the server refused steps of this invocation

    Interrupt (BaseException)     stops your function when an invocation has its answer; never catch it

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
    "EventLoopError",
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
    "ResultTimeoutError",
    "RetryAfterError",
    "RunCancelledError",
    "RunFailedError",
    "RunRefusedError",
    "SendError",
    "SignatureError",
    "StepError",
    "StepTimeoutError",
    "TransientError",
    "UnawaitedStepError",
]


class MilepostError(Exception):
    """Base of all errors of this package."""

    code: ClassVar[str] = "milepost_error"


class TransientError(MilepostError):
    """The same call may succeed later, so it is retried."""

    code = "transient"


class RetryAfterError(TransientError):
    """Raise it in a function or a step to be retried, but not before `retry_after`.

    Args:
        message: What went wrong.
        retry_after: A duration (timedelta, a string such as `"30s"`, or seconds) or an aware datetime. It is clamped to
            the range 1 s to 24 h.

    The attempt counts like any other failed one. Raises BadDurationError, with the message, for any other value.
    """

    code = "retry_after"

    def __init__(self, message: str, retry_after: timedelta | str | float | datetime) -> None:
        super().__init__(message)
        self.retry_after: timedelta | datetime = _read_retry_after(message, retry_after)

    def due_at(self, now: datetime) -> datetime:
        """The earliest moment of the retry, in UTC; at most 24 hours from `now`."""
        return now.astimezone(UTC) + self._delay(now)

    def header(self, now: datetime) -> str:
        """The value of the `retry-after` header: whole seconds, rounded up."""
        return str(math.ceil(self._delay(now).total_seconds()))

    def _delay(self, now: datetime) -> timedelta:
        after = self.retry_after
        wait = after - now if isinstance(after, datetime) else after
        return min(max(wait, timedelta(0)), MAX_RETRY_AFTER)


def _read_retry_after(message: str, given: object) -> timedelta | datetime:
    """Read it in the constructor, so that the traceback of a bad value shows the line to fix."""
    where = f"RetryAfterError({message!r}, …)"
    if isinstance(given, datetime):
        if given.tzinfo is None:
            raise BadDurationError(
                f"retry_after {given.isoformat()} of {where} has no time zone: pass an aware datetime or a timedelta"
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
        # A number from another service may exceed any date; a negative one is due at once.
        return timedelta(seconds=min(max(given, 0), MAX_RETRY_AFTER.total_seconds()))
    raise BadDurationError(
        f"retry_after of {where} is {given!r}: pass a timedelta, seconds, a string such as '30s', or an aware datetime"
    )


class SendError(TransientError):
    """The server or the bus could not be reached, or kept failing. Send again what was not accepted.

    Attributes:
        ids: Ids of the events that were accepted, in the order of sending; empty if none were.
    """

    code = "send_failed"

    def __init__(self, message: str, ids: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.ids = ids


class StepTimeoutError(TransientError, TimeoutError):
    """An attempt of a step took longer than the `timeout=` of `step.run`. It is retried like after any other error."""

    code = "step_timeout"


class ResultTimeoutError(TransientError, TimeoutError):
    """A run has not ended within the `timeout` of `result()`. It is not cancelled: ask again, or `cancel()`.

    Attributes:
        run_id: Id of the run.
        function_id: Full id of its function.
        status: Where the run was last seen: `"Queued"` or `"Running"`.
    """

    code = "result_timeout"

    def __init__(self, message: str, *, run_id: str = "", function_id: str = "", status: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id
        self.function_id = function_id
        self.status = status


class FinalError(MilepostError):
    """The same call would fail again, so it is not retried."""

    code = "final"


class NonRetriableError(FinalError):
    """Raise it in a function to fail the run at once, or in a step to fail the step at once.

    Args:
        message: What went wrong.
        data: Any value that JSON can represent, by default None; it arrives as `StepError.data`. A value that JSON
            cannot represent arrives as None.
    """

    code = "non_retriable"

    def __init__(self, message: str, *, data: object = None) -> None:
        super().__init__(message)
        self.data = data


class StepError(FinalError):
    """A step failed for good: its last attempt failed, its error was final, or an invoked function failed.

    Raised where the step is called, in this and every later invocation. Catch it to continue; uncaught, it fails the
    run with the original name, message and stack.

    Attributes:
        name: Class name of the original error.
        message: Its text.
        stack: Its traceback as text; may be empty.
        data: The `data` of the original error, such as `NonRetriableError(data=…)`; else None.
        cause: The error it was raised from, if the server kept it; else None.
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
    """The data of an event does not match the model that its `Event` declares."""

    code = "event_mismatch"


class EventRefusedError(FinalError):
    """The server or the bus refused an event; sending it again would fail again.

    Attributes:
        ids: Ids of the events before it, which were accepted; empty if none were.
    """

    code = "event_refused"

    def __init__(self, message: str, ids: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.ids = ids


class EventLoopError(FinalError):
    """A run sends an event at the end of a chain in which each event started a run that sent the next.

    The limit is `App(max_chain=…)`, 50 by default. A run that takes more than ten minutes begins a new chain.
    """

    code = "event_loop"


class PayloadTooLargeError(FinalError):
    """An event over 3 MiB (1 MB on EventBridge), a result over 4 MiB or a response over 8 MiB, as JSON."""

    code = "payload_too_large"


class _RunEndedBadly(FinalError):
    def __init__(
        self, message: str, *, run_id: str = "", function_id: str = "", name: str = "", data: object = None,
        stack: str = "", cause: StepError | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.run_id = run_id
        self.function_id = function_id
        self.name = name
        self.message = message
        self.data = data
        self.stack = stack
        self.cause = cause


class RunFailedError(_RunEndedBadly):
    """The run whose `result()` was asked for failed.

    Attributes:
        run_id: Id of the run.
        function_id: Full id of its function.
        name: Class name of the error that failed the run.
        message: Its text.
        data: Its `data`, such as that of `NonRetriableError(data=…)`; else None.
        stack: Its traceback as text; may be empty.
        cause: The error that it was raised from, if the server kept it; else None.
    """

    code = "run_failed"

    def __str__(self) -> str:
        return (
            f"run {self.run_id} of function {self.function_id!r} failed: {self.name}: {self.message}. "
            "Fix the cause, then replay the run"
        )


class RunCancelledError(_RunEndedBadly):
    """The run whose `result()` was asked for was cancelled: by hand, by an event, by a time limit or with its parent.

    Attributes:
        run_id: Id of the run.
        function_id: Full id of its function.
        name: Always `"RunCancelled"`.
        message: Why it was cancelled.
        data, stack, cause: Always empty.
    """

    code = "run_cancelled"

    def __str__(self) -> str:
        return (
            f"run {self.run_id} of function {self.function_id!r} was cancelled: {self.message}. "
            "If it should run after all, replay it"
        )


class RunRefusedError(FinalError):
    """The server refused to start, show or cancel a run: the function or the run does not exist, for example.

    Attributes:
        reason: The code of the refusal, such as `"MP308"`; empty if the server gave none.
    """

    code = "run_refused"

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class CodeError(MilepostError):
    """The code must be changed; a retry does not help."""

    code = "code"


class ConfigError(CodeError):
    """A declaration or setting is wrong. Raised while your module is imported, where possible."""

    code = "config"


class BadDurationError(ConfigError):
    """Not a duration, or outside its limits."""

    code = "bad_duration"


class BadIdError(ConfigError):
    """An id of an app, a function or a step that cannot be used."""

    code = "bad_id"


class BadRetriesError(ConfigError):
    """A retry policy outside its limits, or with a name that `Retries` no longer has."""

    code = "bad_retries"


class BadTriggerError(ConfigError):
    """A trigger, a cron line or a cancellation that cannot be used."""

    code = "bad_trigger"


class DuplicateFunctionError(ConfigError):
    """Two functions of one app have the same id."""

    code = "duplicate_function"


class FlowControlUnsupportedError(ConfigError):
    """A flow-control option that this version does not support. It is refused, never ignored."""

    code = "flow_control_unsupported"


class ReservedEventNameError(ConfigError):
    """An event to send has a name that begins with `inngest/`. Only the engine sends those; functions may listen."""

    code = "reserved_event_name"


class NestedStepError(CodeError):
    """A step was called inside the body of another step."""

    code = "nested_step"


class UnawaitedStepError(CodeError):
    """A step was called but never awaited, so its code did not run. Raised when the function returns."""

    code = "unawaited_step"


class NonDeterminismError(CodeError):
    """A step that the run remembers is now of another kind, such as a sleep instead of a run step."""

    code = "non_determinism"


class NotSerializableError(CodeError):
    """A result of a step or function, or the data of an event or invoke, that JSON cannot represent."""

    code = "not_serializable"


class RequestError(MilepostError):
    """A request that the app cannot serve.

    Attributes:
        status: HTTP status of the response; 400 by default.
        reason: The code in the response; the class's `code` by default.
    """

    code = "bad_request"

    def __init__(self, message: str, *, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = code or type(self).code


class SignatureError(RequestError):
    """The signature of a request is missing, wrong, or more than five minutes from the app's clock."""

    code = "signature_verification_failed"

    def __init__(self, message: str) -> None:
        super().__init__(message, status=401)


class CheckpointRefused(MilepostError):
    """Raised by a checkpointer: the server refused steps of this invocation.

    Attributes:
        stale: True (the default): another invocation has taken over, so this one stops at once. False: the steps are
            returned in the response, as in step mode.
    """

    code = "checkpoint_refused"

    def __init__(self, reason: str = "another invocation has taken over", *, stale: bool = True) -> None:
        super().__init__(reason)
        self.stale = stale


class Interrupt(BaseException):
    """Stops a function whose invocation has its answer. It is raised through your code: let it pass."""
