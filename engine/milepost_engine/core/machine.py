"""The machine: what happens to a run is decided here, by (run, input, now) alone.

Rules
 1. A closed step never changes: its first result wins, whatever arrives later.
 2. An ended run accepts no input; a redelivered message only repeats its end-of-run actions.
 3. One discovery looks for steps at a time: its outcome is a plan, a closed step or the end, each written once.
 4. While anything is open, a discovery runs no step and is called a peek: another branch may end at any moment, and
    the discovery that follows it would run the same step.
 5. The last planned step to close causes the next discovery. A discovery follows earlier, at once, when a sleep, a wait
    or an invoke closes or when the steps race; otherwise soon, if the SDK supports early peeks.
 6. Attempts belong to a job: a discovery at one position of the run, or one planned step. The next job starts at 0.
 7. A step that has failed for good does not fail the run: the function is called once more and decides.
 8. What is outstanding follows from the run alone; `RunResumed` asks for it again.

`ACCEPTS` says which input each status accepts, `DISCOVERY_FOLLOWS` (`outstanding.py`) when rule 5 applies, and
`opcodes.py` what each opcode does.
Laws: no I/O, no clock, no randomness, no logging.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from milepost.protocol import DISCOVERY, MAX_NESTING, MAX_STATE_BYTES, Opcode, nests_deeper

from . import opcodes
from .commands import Command, FinishRun, Invoke, SetTimer
from .inputs import (
    Call,
    CancelRequested,
    ChildFinished,
    EventMatched,
    Input,
    InvocationFailed,
    InvocationReturned,
    RunResumed,
    RunStarted,
    StepsCheckpointed,
    TimerDue,
    TimerKind,
)
from .opcodes import failure_text
from .outstanding import When, after_closing, commands_for, discover, discovery_follows, outstanding, peek_due
from .records import sign
from .retries import RetryPolicy
from .run import (
    ClosedStep,
    FailedAttempt,
    Outcome,
    Plan,
    Record,
    Run,
    RunBegun,
    RunEnded,
    RunStatus,
    StepStatus,
)

__all__ = ["ACCEPTS", "Decision", "Rule", "advance", "due_discovery", "follow"]

_THROTTLE_DELAY: Final = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Decision:
    """The run as it will be, the records that make it so (in the order to write them), and what to do then.

    A record is written only if it does not exist yet; after the first one that exists, nothing further is written.
    """

    run: Run
    records: tuple[Record, ...] = ()
    commands: tuple[Command, ...] = ()


def advance(run: Run, given: Input, now: datetime, *, by: str = "") -> Decision:
    """Decide what an input does to a run. `by` names the message whose worker asks; its records bear that name."""
    rule = ACCEPTS[run.status].get(type(given))
    decision = rule.decide(run, given, now) if rule else Decision(run)
    if by:
        for record in decision.records:
            sign(record, by)
    return decision


def follow(run: Run, records: Sequence[Record], now: datetime) -> tuple[Command, ...]:
    """What comes next after records were added to a run that other workers have advanced meanwhile."""
    if run.status.ended and not isinstance(records[-1], RunEnded):
        return ()
    return _follow_up(run, records, now).commands


def due_discovery(run: Run, now: datetime) -> Invoke | None:
    """The discovery that is due now, if there is one."""
    return discover(run, now) if run.status is RunStatus.RUNNING and discovery_follows(run) is When.NOW else None


# --- messages that bring no result ------------------------------------------------------------------------------------


def _start(run: Run, _: Input, now: datetime) -> Decision:
    if run.discovered:
        return Decision(run)  # it has begun already: the message was delivered twice
    return Decision(run, commands=(*_timeouts(run, now), *outstanding(run, f"{DISCOVERY}#0", now)))


def _start_queued(run: Run, _: Input, now: datetime) -> Decision:
    if run.start_at is not None and now < run.start_at:
        return Decision(run, commands=(*_timeouts(run, now), SetTimer(TimerKind.BEGIN, run.start_at)))
    if run.start_by is not None and now >= run.start_by:
        # After an outage the two timers may arrive in either order.
        return _late(run, run.start_by, Outcome.START_TIMEOUT, TimerKind.START_TIMEOUT, now)
    begun = RunBegun(now)
    return _settle(run, [begun], now, extra=(*_timeouts(run, now), *outstanding(run.with_record(begun), "", now)))


def _timeouts(run: Run, now: datetime) -> tuple[Command, ...]:
    pairs = ((TimerKind.START_TIMEOUT, run.start_by), (TimerKind.FINISH_TIMEOUT, run.finish_by))
    return tuple(SetTimer(kind, due) for kind, due in pairs if due is not None and due > now)


def _resume(run: Run, given: Input, now: datetime) -> Decision:
    job = given.job if isinstance(given, RunResumed) else None
    return Decision(run, commands=outstanding(run, job, now))


def _finish_again(run: Run, _: Input, __: datetime) -> Decision:
    return Decision(run, commands=(FinishRun(),))


# --- what follows from a record ------------------------------------------------------------------------------------


def _settle(run: Run, records: list[Record], now: datetime, extra: tuple[Command, ...] = ()) -> Decision:
    """Add the records to the run and derive what comes next from the last of them."""
    for record in records:
        run = run.with_record(record)
    return _follow_up(run, records, now, extra)


def _follow_up(run: Run, records: Sequence[Record], now: datetime, extra: tuple[Command, ...] = ()) -> Decision:
    """What comes next once the run has the records."""
    if run.status.ended:
        return Decision(run, tuple(records), (FinishRun(),))
    commands: list[Command] = list(extra)
    last = records[-1] if records else None
    match last:
        case Plan():
            for op in sorted(last.ops, key=opcodes.acting_order):
                commands += commands_for(run, op, now)
            if discovery_follows(run) is When.NOW:
                commands.append(discover(run, now))
        case FailedAttempt():
            commands.append(Invoke(last.job, last.attempt + 1, last.next_at))
        case ClosedStep():
            commands += after_closing(run, (r.step_id for r in records if isinstance(r, ClosedStep)), now)
        case _:
            pass
    return Decision(run, tuple(records), tuple(commands))


# --- responses of user code ---------------------------------------------------------------------------------------


def _returned(run: Run, given: Input, now: datetime) -> Decision:
    assert isinstance(given, InvocationReturned)
    records, run, failed = _results(run, given, now)
    last = failed or _last_record(run, given, records, now)
    if last is not None:
        records.append(last)
        run = run.with_record(last)
    elif not records:
        return _nothing_reported(run, given, now)
    return _follow_up(run, records, now)


def _last_record(run: Run, given: InvocationReturned, closed: list[Record], now: datetime) -> RunEnded | Plan | None:
    """What a response means beyond the steps that it closed: the end of the run, or a plan."""
    if problem := _overflow(run, given):
        return _fatal(problem, given, now)
    complete = next((op for op in given.ops if op.kind is Opcode.RUN_COMPLETE), None)
    if complete is not None:
        call = given.call
        if isinstance(complete.data, bytes) and nests_deeper(complete.data):
            return _fatal(_too_deep(run), given, now)
        return RunEnded(RunStatus.COMPLETED, Outcome.RETURNED, complete.data, now, call.attempt, call.started_at)
    opened = opcodes.open_ops(run, given.ops, now)
    if isinstance(opened, opcodes.Refusal):
        return _fatal(opened.error, given, now)
    # A discovery that finds nothing new while something is open has seen all that is closed: that is a plan too.
    if opened or (given.call.target == DISCOVERY and not closed and run.view.open):
        return Plan(len(run.plans), given.call.job, _seen(run, given.call, closed), opened, now)
    return None


def _seen(run: Run, call: Call, closed: list[Record]) -> tuple[str, ...]:
    """The steps that an invocation knew: those it was given and those it closed, and never fewer than a plan has fixed.

    Steps that others have closed meanwhile are left out: another discovery has yet to see them.
    """
    own = (s.step_id for s in closed if isinstance(s, ClosedStep) and s.status is not StepStatus.VANISHED)
    known = (*call.order, *own)
    if known == run.order:
        return known
    fixed = run.plans[-1].order if run.plans else run.kept
    return known if known[: len(fixed)] == fixed else fixed


def _results(
    run: Run, given: InvocationReturned | StepsCheckpointed, now: datetime
) -> tuple[list[Record], Run, FailedAttempt | None]:
    """The finished steps of a response as records, the run with them, and a failed attempt if there is one."""
    records: list[Record] = []
    call = given.call
    for op in given.ops:
        if op.step_id in run.closed or op.kind not in opcodes.RESULTS:
            continue
        # Rule 6: a step that follows a finished one within the same invocation is on its own first attempt.
        attempt, job = (call.attempt, call.job) if not records else (0, run.discovery_job)
        if op.kind is Opcode.STEP_ERROR and isinstance(given, InvocationReturned):
            failed = _retry(run, job, attempt, given, op, now)
            if failed is not None:
                return records, run, failed
        step = opcodes.close_result(run, op, job=job, attempt=attempt, call=call, now=now)
        records.append(step)
        run = run.with_record(step)
    target = call.target
    if target != DISCOVERY and not run.status.ended and run.open_op(target) and not records:
        # Protocol §2.8 rule 7: the code has changed and no longer has the step; others must not wait for it.
        gone = opcodes.vanish(run, target, call, now)
        records.append(gone)
        run = run.with_record(gone)
    return records, run, None


def _retry(
    run: Run, job: str, attempt: int, given: InvocationReturned, op: opcodes.ReportedOp, now: datetime
) -> FailedAttempt | None:
    """The record of a failed attempt that another follows; None when it was the last one."""
    error = op.error or {}
    # The header counts seconds from the response; the op's date is by the SDK's clock, which may differ from ours.
    asked = given.retry_after if given.retry_after is not None else opcodes.retry_after_of(op, now)
    final = given.no_retry or error.get("noRetry") is True
    delay = _policy(run, job, op).retry_after(attempt, final=final, asked=asked, salt=f"{run.run_id}{job}{attempt}")
    if delay is None:
        return None
    return FailedAttempt(
        job,
        attempt,
        op.step_id,
        op.name,
        error,
        opcodes.during(given.call, op.started_at or given.call.started_at, now),
        opcodes.during(given.call, op.ended_at or now, now),
        now + delay,
    )


def _policy(run: Run, job: str, op: opcodes.ReportedOp | None = None) -> RetryPolicy:
    own = opcodes.retries_of(op.opts, run.retries) if op is not None else None
    if own is not None:
        return own
    planned = run.open_op(job)
    return planned.retries if planned is not None and planned.retries is not None else run.retries


def _overflow(run: Run, given: InvocationReturned | StepsCheckpointed) -> dict[str, object] | None:
    count = run.step_count_with(op.step_id for op in given.ops if op.kind in opcodes.COUNTED)
    if count > run.step_limit:
        return failure_text(
            "InngestErrFunctionOverflowed",
            f"The run of function {run.function_id!r} has more than {run.step_limit} steps. "
            "Split the work: invoke another function, or send an event for each part. Or raise its max_steps.",
        )
    if run.stored_bytes > MAX_STATE_BYTES:
        return failure_text(
            "InngestErrStateOverflowed",
            f"The steps of function {run.function_id!r} have returned more than {MAX_STATE_BYTES >> 20} MiB in total. "
            "Return a reference (such as an S3 key) from large steps instead of the content.",
        )
    return None


def _too_deep(run: Run) -> dict[str, object]:
    return failure_text(
        "OutputTooDeep",
        f"Function {run.function_id!r} returned a value nested more than {MAX_NESTING} levels deep. "
        "Return a flatter value, or the value as text.",
    )


def _fatal(error: dict[str, object], given: InvocationReturned | StepsCheckpointed, now: datetime) -> RunEnded:
    return RunEnded(
        RunStatus.FAILED,
        Outcome.ERROR,
        opcodes.to_json(error),
        now,
        given.call.attempt,
        given.call.started_at,
    )


def _nothing_reported(run: Run, given: InvocationReturned, now: datetime) -> Decision:
    """A response that changes nothing: harmless if it repeats closed steps, an error if the function found no step."""
    call = given.call
    if call.target != DISCOVERY or discovery_follows(run) is not When.NOW:
        return Decision(run)
    if call.job != run.discovery_job:
        # The run has advanced since; the response was right when it was made.
        return Decision(run, commands=(discover(run, now),))
    error = failure_text(
        "NothingReported",
        f"Function {run.function_id!r} returned neither a result nor a new step. "
        "Its steps may have changed while the run was in progress; replay the run to use the new code.",
    )
    return _failed(run, InvocationFailed(call, error), now)


def _checkpointed(run: Run, given: Input, now: datetime) -> Decision:
    assert isinstance(given, StepsCheckpointed)
    records, run, _ = _results(run, given, now)
    if records and (problem := _overflow(run, given)):
        # A limit holds for a checkpoint as for an answer: the run ends here, and its invocation is told to stop.
        records.append(_fatal(problem, given, now))
        run = run.with_record(records[-1])
    # The invocation continues and does what follows from these steps; if it dies, the sweeper asks for it.
    return Decision(run, tuple(records))


def _failed(run: Run, given: Input, now: datetime) -> Decision:
    assert isinstance(given, InvocationFailed)
    call = given.call
    if not given.counts:
        return Decision(run, commands=(Invoke(call.job, call.attempt, now + _THROTTLE_DELAY),))
    planned = run.open_op(call.target) if call.target != DISCOVERY else None
    salt = f"{run.run_id}{call.job}{call.attempt}"
    delay = _policy(run, call.job).retry_after(call.attempt, final=given.no_retry, asked=given.retry_after, salt=salt)
    if delay is not None:
        step_id, name = (planned.step_id, planned.name) if planned else ("", "")
        failed = FailedAttempt(call.job, call.attempt, step_id, name, given.error, call.started_at, now, now + delay)
        return _settle(run, [failed], now)
    if planned is not None:
        # The step is closed with the error; the function is called again and may catch it (rule 7).
        op = opcodes.ReportedOp(planned.step_id, Opcode.STEP_FAILED, planned.name, error=given.error)
        step = opcodes.close_result(run, op, job=call.job, attempt=call.attempt, call=call, now=now)
        return _settle(run, [step], now)
    output = opcodes.to_json(given.error)
    ended = RunEnded(RunStatus.FAILED, Outcome.ERROR, output, now, call.attempt, call.started_at)
    return _settle(run, [ended], now)


# --- timers, events, children, cancellation -----------------------------------------------------------------------


def _timer(run: Run, given: Input, now: datetime) -> Decision:
    assert isinstance(given, TimerDue)
    match given.kind:
        case TimerKind.STEP:
            return _step_due(run, given.step_id, now)
        case TimerKind.FINISH_TIMEOUT:
            return _late(run, run.finish_by, Outcome.FINISH_TIMEOUT, given.kind, now)
        case TimerKind.PEEK:
            return Decision(run, commands=peek_due(run, now))
        case TimerKind.BEGIN | TimerKind.START_TIMEOUT:
            return _resume(run, RunResumed(""), now)


def _timer_queued(run: Run, given: Input, now: datetime) -> Decision:
    assert isinstance(given, TimerDue)
    match given.kind:
        case TimerKind.BEGIN:
            return _start_queued(run, RunStarted(), now)
        case TimerKind.START_TIMEOUT:
            return _late(run, run.start_by, Outcome.START_TIMEOUT, given.kind, now)
        case TimerKind.FINISH_TIMEOUT:
            return _late(run, run.finish_by, Outcome.FINISH_TIMEOUT, given.kind, now)
        case _:
            return Decision(run)


def _late(run: Run, limit: datetime | None, outcome: Outcome, kind: TimerKind, now: datetime) -> Decision:
    if limit is None:
        return Decision(run)
    if now < limit:
        return Decision(run, commands=(SetTimer(kind, limit),))
    return _cancel(run, CancelRequested(outcome), now)


def _step_due(run: Run, step_id: str, now: datetime) -> Decision:
    op = run.open_op(step_id)
    if op is None or op.due_at is None:
        return _resume(run, RunResumed(step_id), now)
    if now < op.due_at:
        return Decision(run, commands=(SetTimer(TimerKind.STEP, op.due_at, step_id),))
    return _settle(run, [opcodes.close_due(run, op, now)], now)


def _matched(run: Run, given: Input, now: datetime) -> Decision:
    assert isinstance(given, EventMatched)
    op = run.open_op(given.step_id)
    if op is None or op.kind is not Opcode.WAIT_FOR_EVENT:
        return _resume(run, RunResumed(given.step_id), now)
    if op.due_at is not None and given.received_at > op.due_at:
        return Decision(run)
    if given.event_id in run.used_before(op.step_id):
        return Decision(run)  # this event ended an earlier wait: the next one ends this
    step = opcodes.close_open(run, op, StepStatus.COMPLETED, given.memo, now, {"event_id": given.event_id})
    return _settle(run, [step], now)


def _child(run: Run, given: Input, now: datetime) -> Decision:
    assert isinstance(given, ChildFinished)
    op = run.open_op(given.step_id)
    # A wait whose expression cannot be bound to the event ends this way too: it fails.
    if op is None or not (op.kind is Opcode.INVOKE_FUNCTION or (given.failed and op.kind is Opcode.WAIT_FOR_EVENT)):
        return _resume(run, RunResumed(given.step_id), now)
    status = StepStatus.FAILED if given.failed else StepStatus.COMPLETED
    step = opcodes.close_open(run, op, status, given.memo, now, {"run_id": given.child_run_id})
    return _settle(run, [step], now)


def _cancel(run: Run, given: Input, now: datetime) -> Decision:
    assert isinstance(given, CancelRequested)
    reason = {"outcome": given.outcome.value, "reason": given.reason}
    return _settle(run, [RunEnded(RunStatus.CANCELLED, given.outcome, opcodes.to_json(reason), now)], now)


@dataclass(frozen=True, slots=True)
class Rule:
    """How an input is decided, and the statuses it may lead to (the diagram in the docs is drawn from these)."""

    decide: Callable[[Run, Input, datetime], Decision]
    leads_to: tuple[RunStatus, ...]


_QUEUED: Final = RunStatus.QUEUED
_RUNNING: Final = RunStatus.RUNNING
_COMPLETED: Final = RunStatus.COMPLETED
_FAILED: Final = RunStatus.FAILED
_CANCELLED: Final = RunStatus.CANCELLED


def _ended(status: RunStatus) -> dict[type[Input], Rule]:
    return {kind: Rule(_finish_again, (status,)) for kind in (RunStarted, RunResumed, CancelRequested)}


ACCEPTS: Final[dict[RunStatus, dict[type[Input], Rule]]] = {
    _QUEUED: {
        RunStarted: Rule(_start_queued, (_QUEUED, _RUNNING)),
        RunResumed: Rule(_start_queued, (_QUEUED, _RUNNING)),
        TimerDue: Rule(_timer_queued, (_QUEUED, _RUNNING, _CANCELLED)),
        CancelRequested: Rule(_cancel, (_CANCELLED,)),
    },
    _RUNNING: {
        RunStarted: Rule(_start, (_RUNNING,)),
        RunResumed: Rule(_resume, (_RUNNING,)),
        InvocationReturned: Rule(_returned, (_RUNNING, _COMPLETED, _FAILED)),
        StepsCheckpointed: Rule(_checkpointed, (_RUNNING, _FAILED)),
        InvocationFailed: Rule(_failed, (_RUNNING, _FAILED)),
        TimerDue: Rule(_timer, (_RUNNING, _CANCELLED)),
        EventMatched: Rule(_matched, (_RUNNING,)),
        ChildFinished: Rule(_child, (_RUNNING,)),
        CancelRequested: Rule(_cancel, (_CANCELLED,)),
    },
    _COMPLETED: _ended(_COMPLETED),
    _FAILED: _ended(_FAILED),
    _CANCELLED: _ended(_CANCELLED),
}
