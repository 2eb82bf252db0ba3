"""What each opcode means: one small function per opcode, and the tables that name them.

Memo shapes follow the protocol §2.6, error texts for what an SDK or its tests can see follow §2.5 and §2.6.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from milepost.protocol import (
    DISCOVERY,
    MAX_NESTING,
    MAX_OPEN_DAYS,
    Opcode,
    nests_deeper,
    next_millisecond,
    parse_duration,
)
from milepost_engine.cel import ExpressionError, compile_expression

from .commands import Command, OpenWait, SetTimer, StartRunFor
from .inputs import Call, ReportedOp, TimerKind
from .retries import RetryPolicy
from .run import ClosedStep, Json, OpenOp, Run, StepStatus, Stored

__all__ = [
    "AT_DUE",
    "COUNTED",
    "OPENERS",
    "RESULTS",
    "Refusal",
    "ReportedOp",
    "acting_order",
    "cancelled_with_parent",
    "close_due",
    "close_open",
    "close_result",
    "error_memo",
    "failure_text",
    "look_back_of",
    "open_commands",
    "open_ops",
    "policy_of",
    "retries_of",
    "retry_after_of",
    "to_json",
    "vanish",
]

RESULTS: Final = frozenset({Opcode.STEP_RUN, Opcode.STEP_ERROR, Opcode.STEP_FAILED})
"""Opcodes that report a finished attempt of a step."""

COUNTED: Final = frozenset({*RESULTS, Opcode.STEP_PLANNED, Opcode.SLEEP, Opcode.WAIT_FOR_EVENT, Opcode.INVOKE_FUNCTION})
"""Opcodes that are steps, for the limit of steps in a run."""

_INVOKE_TIMEOUT: Final = timedelta(days=365)
_LONGEST: Final = timedelta(days=MAX_OPEN_DAYS)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Open work that is invalid: the run fails at once, without a retry."""

    error: dict[str, Json]


def to_json(value: Json) -> bytes:
    """Compact JSON text of a plain structure."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def failure_text(name: str, message: str) -> dict[str, Json]:
    """An error raised by the engine, in the shape that SDKs use for theirs."""
    return {"error": f"{name}: {message}", "name": name, "message": message, "stack": ""}


def error_memo(error: Mapping[str, Json]) -> bytes:
    """The memo of a failed step: only the keys that the protocol knows."""
    known = ("error", "name", "message", "stack", "data", "cause")
    return to_json({"error": {key: error[key] for key in known if key in error}})


# --- results ----------------------------------------------------------------------------------------------------


def close_result(run: Run, op: ReportedOp, *, job: str, attempt: int, call: Call, now: datetime) -> ClosedStep:
    """The record of a step whose code has run for the last time."""
    failed = op.kind is not Opcode.STEP_RUN
    if failed:
        memo: Stored = error_memo(op.error or {"name": "Error", "message": "the step failed without an error message"})
    elif isinstance(op.data, bytes):
        memo = b'{"data":%s%s}' % (op.data, b',"mark":"%s"' % op.mark.encode() if op.mark else b"")
    else:
        memo = op.data
    planned = run.open_op(op.step_id)
    return ClosedStep(
        step_id=op.step_id,
        kind=Opcode.STEP_RUN,
        name=op.name or (planned.name if planned else ""),
        status=StepStatus.FAILED if failed else StepStatus.COMPLETED,
        memo=memo,
        seq=_seq(run, job, call),
        job=job,
        attempt=attempt,
        started_at=during(call, op.started_at or call.started_at, now),
        closed_at=during(call, op.ended_at or now, now),
    )


def during(call: Call, reported: datetime, now: datetime) -> datetime:
    """A moment of the SDK's clock, kept within the call: that clock may be hours off, and the sweeper relies on it."""
    return max(call.started_at, min(reported, now))


def _seq(run: Run, job: str, call: Call) -> int:
    if job.startswith(DISCOVERY):
        # The steps that this discovery was given, plus those that it closed itself before this one.
        given = len(call.order)
        if run.order[:given] == call.order:
            since = run.order[given:]
        else:
            known = frozenset(call.order)
            since = tuple(step_id for step_id in run.order if step_id not in known)
        own = sum(1 for step_id in since if run.closed[step_id].closed_at >= call.started_at)
        return given + own + 1
    return len(run.order) + 1


def vanish(run: Run, step_id: str, call: Call, now: datetime) -> ClosedStep:
    """The record of a planned step that the code no longer has."""
    op = run.open_op(step_id)
    return ClosedStep(
        step_id, Opcode.STEP_RUN, op.name if op else "", StepStatus.VANISHED, b"null", len(run.order) + 1,
        call.job, call.attempt, call.started_at, now,
    )  # fmt: skip


def close_open(
    run: Run, op: OpenOp, status: StepStatus, memo: Stored, now: datetime, detail: Mapping[str, Json]
) -> ClosedStep:
    """The record of a sleep, wait or invoke that is over."""
    plan = run.plan_of(op.step_id)
    return ClosedStep(
        op.step_id, op.kind, op.name, status, memo, len(run.order) + 1, op.step_id, 0,
        plan.recorded_at if plan else now, now, detail,
    )  # fmt: skip


_INVOKE_TIMED_OUT: Final = failure_text(
    "InngestInvokeTimeoutError", "Timed out waiting for invoked function to complete"
)

AT_DUE: Final[dict[Opcode, tuple[StepStatus, bytes]]] = {
    Opcode.SLEEP: (StepStatus.COMPLETED, b"null"),
    Opcode.WAIT_FOR_EVENT: (StepStatus.TIMED_OUT, b"null"),
    Opcode.INVOKE_FUNCTION: (
        StepStatus.TIMED_OUT,
        to_json({"error": {key: _INVOKE_TIMED_OUT[key] for key in ("error", "name", "message")}}),
    ),
}


def close_due(run: Run, op: OpenOp, now: datetime) -> ClosedStep:
    """The record of a sleep that is over, or a wait or invoke whose time is up."""
    status, memo = AT_DUE[op.kind]
    return close_open(run, op, status, memo, now, {})


# --- open work ----------------------------------------------------------------------------------------------------


def open_ops(run: Run, ops: tuple[ReportedOp, ...], now: datetime) -> tuple[OpenOp, ...] | Refusal:
    """The work in a response that the run does not have yet, or why it is refused."""
    planned, closed = run.view.planned, run.closed
    opened: dict[str, OpenOp] = {}
    for op in ops:
        make = OPENERS.get(op.kind)
        if make is None or op.step_id in planned or op.step_id in closed:
            continue
        made = _refuse_deep(run, op) or make(run, op, now)
        if isinstance(made, Refusal):
            return made
        opened.setdefault(op.step_id, made)
    return tuple(opened.values())


def _refuse_deep(run: Run, op: ReportedOp) -> Refusal | None:
    """Refuse options nested too deeply: they are stored in the plan, the data of an invoke in an event as well."""
    if not any(isinstance(value, dict | list) for value in op.opts.values()):
        return None
    if not nests_deeper(to_json(op.opts), MAX_NESTING + 2):  # the data of an invoke is in opts.payload
        return None
    return _refuse(
        run, op, "InputTooDeep", f"passes data nested more than {MAX_NESTING} levels deep; pass flatter data"
    )


def _open_step(run: Run, op: ReportedOp, _: datetime) -> OpenOp:
    return OpenOp(op.step_id, op.kind, op.name, None, op.opts, retries_of(op.opts, run.retries))


def _open_sleep(run: Run, op: ReportedOp, now: datetime) -> OpenOp | Refusal:
    return _due(run, op, now, op.opts.get("duration") or op.name, "sleep")


def _open_wait(run: Run, op: ReportedOp, now: datetime) -> OpenOp | Refusal:
    event = op.opts.get("event") or op.name
    if not isinstance(event, str) or not event:
        return _refuse(run, op, "InvalidWait", "waits for an event without a name; name the event")
    expression = op.opts.get("if")
    if expression:
        try:
            compile_expression(str(expression))
        except ExpressionError as error:
            return _refuse(run, op, "InvalidExpression", f"waits with an expression that cannot be read: {error}")
    made = _due(run, op, now, op.opts.get("timeout") or "0s", "wait")
    if isinstance(made, Refusal):
        return made
    return OpenOp(op.step_id, op.kind, op.name, made.due_at, {**op.opts, "event": event})


def _open_invoke(run: Run, op: ReportedOp, now: datetime) -> OpenOp | Refusal:
    if not isinstance(op.opts.get("function_id"), str):
        return _refuse(run, op, "InvalidInvoke", "invokes a function without an id; give its id")
    if not op.opts.get("timeout"):
        return OpenOp(op.step_id, op.kind, op.name, now + _INVOKE_TIMEOUT, op.opts)
    return _due(run, op, now, op.opts["timeout"], "invoke")


OPENERS: Final[dict[Opcode, Callable[[Run, ReportedOp, datetime], OpenOp | Refusal]]] = {
    Opcode.STEP_PLANNED: _open_step,
    Opcode.SLEEP: _open_sleep,
    Opcode.WAIT_FOR_EVENT: _open_wait,
    Opcode.INVOKE_FUNCTION: _open_invoke,
}


def _due(run: Run, op: ReportedOp, now: datetime, text: Json, what: str) -> OpenOp | Refusal:
    try:
        due = _moment(str(text), now)
    except ValueError as error:
        return _refuse(run, op, "InvalidDuration", f"has a {what} whose time cannot be read: {error}")
    if due - now > _LONGEST:
        return _refuse(
            run,
            op,
            "InngestErrTimeoutTooLong",
            f"has a {what} of more than {MAX_OPEN_DAYS} days; use a shorter one",
        )
    return OpenOp(op.step_id, op.kind, op.name, next_millisecond(max(due, now)), op.opts)


def _moment(text: str, now: datetime) -> datetime:
    """A duration from now, or (from ten letters on) a date; protocol §2.5."""
    try:
        return now + parse_duration(text)
    except ValueError:
        if len(text) < 10:
            raise
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is neither a duration like '1h30m' nor a date like '2026-11-23T08:00:00Z'"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _refuse(run: Run, op: ReportedOp, name: str, problem: str) -> Refusal:
    return Refusal(failure_text(name, f"Step {op.name!r} of function {run.function_id!r} {problem}."))


def open_commands(op: OpenOp, opened_at: datetime, now: datetime) -> tuple[Command, ...]:
    """The commands that carry out a sleep, wait or invoke. An invoke whose time is up starts nothing."""
    timer = (SetTimer(TimerKind.STEP, op.due_at, op.step_id),) if op.due_at else ()
    match op.kind:
        case Opcode.WAIT_FOR_EVENT:
            return (OpenWait(op, opened_at), *timer)
        case Opcode.INVOKE_FUNCTION if op.due_at is None or op.due_at > now:
            return (StartRunFor(op), *timer)
        case _:
            return timer


_ACTING: Final = {
    Opcode.WAIT_FOR_EVENT: 0,
    Opcode.SLEEP: 1,
    Opcode.INVOKE_FUNCTION: 2,
    Opcode.STEP_PLANNED: 3,
}


def acting_order(op: OpenOp) -> int:
    """Waits are opened first, because a sibling step may send the event they wait for (protocol §2.5)."""
    return _ACTING[op.kind]


# --- options of an op ---------------------------------------------------------------------------------------------


def retries_of(opts: Mapping[str, Json], base: RetryPolicy) -> RetryPolicy | None:
    """A step's own retry policy (extension): `opts.retries = {"attempts": retries, "backoff": {…}}`."""
    own = opts.get("retries")
    if not isinstance(own, Mapping):
        return None
    return policy_of(own, base)


def policy_of(own: Mapping[str, Json], base: RetryPolicy) -> RetryPolicy:
    """A policy from its wire form; what it leaves out comes from `base`. Seconds are numbers."""
    retries = own.get("attempts")
    attempts = max(0, min(20, retries)) + 1 if isinstance(retries, int) else base.max_attempts
    backoff = own.get("backoff")
    if not isinstance(backoff, Mapping):
        return RetryPolicy(attempts, base.first_seconds, base.factor, base.cap_seconds, base.jitter)
    number = {key: float(value) for key, value in backoff.items() if isinstance(value, int | float)}
    return RetryPolicy(
        attempts,
        number.get("first_delay", 15.0),
        number.get("factor", 2.0),
        number.get("max_delay", 7200.0),
        min(1.0, max(0.0, number.get("jitter", 0.2))),
    )


def look_back_of(op: OpenOp) -> timedelta:
    """How long before the wait was decided an event may have arrived and still end it (extension)."""
    text = op.opts.get("lookback")
    return parse_duration(text) if isinstance(text, str) and text else timedelta(0)


def cancelled_with_parent(op: OpenOp) -> bool:
    """Whether the run that an invoke started is cancelled when this run is (extension)."""
    return op.opts.get("cancel_with_parent") is True


def retry_after_of(op: ReportedOp, now: datetime) -> timedelta | None:
    """How long from now a step asked to be retried (extension): `opts.retry_after`, a date."""
    text = op.opts.get("retry_after")
    if not isinstance(text, str):
        return None
    try:
        return _moment(text, now) - now
    except ValueError:
        return None
