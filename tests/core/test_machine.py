"""The rules of the machine, one test for each thing that they promise."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from milepost.protocol import DISCOVERY, Opcode
from milepost_engine.core.commands import FinishRun, Invoke, OpenWait, SetTimer, StartRunFor
from milepost_engine.core.inputs import (
    Call,
    CancelRequested,
    ChildFinished,
    EventMatched,
    InvocationFailed,
    InvocationReturned,
    ReportedOp,
    RunResumed,
    RunStarted,
    StepsCheckpointed,
    TimerDue,
    TimerKind,
)
from milepost_engine.core.machine import ACCEPTS, Decision, advance
from milepost_engine.core.outstanding import PEEK_DELAY
from milepost_engine.core.retries import RetryPolicy
from milepost_engine.core.run import ClosedStep, FailedAttempt, Outcome, Plan, Run, RunEnded, RunStatus, StepStatus
from milepost_engine.runs.requests import build_call

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
QUICK = RetryPolicy(max_attempts=2, first_seconds=10, jitter=0)
DOWN = {"name": "Error", "message": "down"}


def a_run(**fields: object) -> Run:
    run = Run("R", "a", "a-f", RunStatus.RUNNING, ("E",), "go", NOW, retries=QUICK)
    return replace(run, **fields)  # type: ignore[arg-type]


def returned(run: Run, *ops: ReportedOp, job: str = "", attempt: int = 0, **more: object) -> InvocationReturned:
    call = build_call(run, job or run.discovery_job, attempt, NOW)
    return InvocationReturned(call, ops, **more)  # type: ignore[arg-type]


def discovered(run: Run, *ops: ReportedOp, now: datetime = NOW) -> Decision:
    return advance(run, returned(run, *ops), now)


def ran(step_id: str) -> ReportedOp:
    return ReportedOp(step_id, Opcode.STEP_RUN, step_id, data=b"1")


def failed(step_id: str) -> ReportedOp:
    return ReportedOp(step_id, Opcode.STEP_ERROR, step_id, error=DOWN)


def planned(step_id: str, **opts: object) -> ReportedOp:
    return ReportedOp(step_id, Opcode.STEP_PLANNED, step_id, opts=opts)


def sleep(step_id: str) -> ReportedOp:
    return ReportedOp(step_id, Opcode.SLEEP, step_id, opts={"duration": "1m"})


def closes(run: Run, step_id: str) -> Decision:
    return advance(run, returned(run, ran(step_id), job=step_id), NOW)


def invoked(decision: Decision) -> list[str]:
    return [command.job for command in decision.commands if isinstance(command, Invoke)]


def test_a_new_run_is_discovered_first():
    assert advance(a_run(), RunStarted(), NOW).commands == (Invoke(f"{DISCOVERY}#0", 0, NOW),)


def test_a_finished_step_is_recorded_and_the_function_is_called_again():
    decision = discovered(a_run(), ran("s"))
    assert [type(record) for record in decision.records] == [ClosedStep]
    assert invoked(decision) == [f"{DISCOVERY}#1"]


def test_a_closed_step_stays_as_it_is():
    run = discovered(a_run(), ran("s")).run
    later = advance(run, returned(run, replace(ran("s"), data=b"2")), NOW).run
    assert later.closed == run.closed


def test_the_end_is_recorded_with_its_output_and_followed_by_end_of_run_actions():
    decision = discovered(a_run(), ReportedOp("", Opcode.RUN_COMPLETE, data=b'"yes"'))
    [ended] = decision.records
    assert isinstance(ended, RunEnded)
    assert (ended.status, ended.output) == (RunStatus.COMPLETED, b'"yes"')
    assert decision.commands == (FinishRun(),)


@pytest.mark.parametrize("status", [status for status in RunStatus if status.ended])
def test_an_ended_run_only_repeats_its_end_of_run_actions(status):
    assert set(ACCEPTS[status]) == {RunStarted, RunResumed, CancelRequested}
    assert advance(a_run(status=status), RunResumed(None), NOW).commands == (FinishRun(),)


def test_parallel_steps_are_planned_then_invoked_one_by_one():
    decision = discovered(a_run(), planned("a"), planned("b"))
    assert [type(record) for record in decision.records] == [Plan]
    assert invoked(decision) == ["a", "b"]


def test_the_last_parallel_step_to_close_causes_the_next_discovery():
    run = discovered(a_run(), planned("a"), planned("b")).run
    first = closes(run, "a")
    assert invoked(first) == []
    assert invoked(closes(first.run, "b")) == [f"{DISCOVERY}#3"]


def test_racing_steps_do_not_wait_for_each_other():
    run = discovered(a_run(), planned("a", parallelMode="race"), planned("b", parallelMode="race")).run
    assert invoked(closes(run, "a")) == [f"{DISCOVERY}#2"]


def test_a_finished_parallel_step_is_peeked_at_if_the_sdk_can_use_it():
    run = discovered(a_run(peeks=True), planned("a"), planned("b")).run
    assert closes(run, "a").commands == (SetTimer(TimerKind.PEEK, NOW + PEEK_DELAY),)


def test_a_finished_sleep_is_discovered_while_steps_are_in_flight():
    run = discovered(a_run(), sleep("nap"), planned("a")).run
    decision = advance(run, TimerDue(TimerKind.STEP, "nap"), NOW + timedelta(minutes=1))
    assert invoked(decision) == [f"{DISCOVERY}#2"]


def test_a_sleep_is_not_over_before_its_time():
    run = discovered(a_run(), sleep("nap")).run
    decision = advance(run, TimerDue(TimerKind.STEP, "nap"), NOW + timedelta(seconds=59))
    assert decision.records == ()
    assert decision.commands == (SetTimer(TimerKind.STEP, NOW + timedelta(minutes=1), "nap"),)


def test_a_failed_step_is_tried_again_after_its_delay():
    decision = discovered(a_run(), failed("s"))
    assert [type(record) for record in decision.records] == [FailedAttempt]
    assert decision.commands == (Invoke(f"{DISCOVERY}#0", 1, NOW + timedelta(seconds=10)),)


def test_a_step_that_failed_for_good_lets_the_function_decide():
    run = discovered(a_run(), failed("s")).run
    decision = advance(run, returned(run, failed("s"), attempt=1), NOW)
    [step] = decision.records
    assert isinstance(step, ClosedStep)
    assert step.status is StepStatus.FAILED
    assert not decision.run.status.ended
    assert invoked(decision) == [f"{DISCOVERY}#1"]


def test_moving_on_starts_the_count_of_tries_anew():
    run = discovered(a_run(), failed("s")).run
    run = advance(run, returned(run, ran("s"), attempt=1), NOW).run
    assert discovered(run, failed("t")).commands == (Invoke(f"{DISCOVERY}#1", 1, NOW + timedelta(seconds=10)),)


def test_a_step_that_follows_a_finished_one_within_an_invocation_starts_at_attempt_0():
    run = discovered(a_run(), failed("s")).run
    decision = advance(run, returned(run, ran("s"), failed("t"), attempt=1), NOW)
    finished, again = decision.records
    assert isinstance(finished, ClosedStep)
    assert isinstance(again, FailedAttempt)
    assert (finished.job, finished.attempt) == (f"{DISCOVERY}#0", 1)
    assert (again.job, again.attempt) == (f"{DISCOVERY}#1", 0)
    assert decision.commands == (Invoke(f"{DISCOVERY}#1", 1, NOW + timedelta(seconds=10)),)


def test_a_plan_keeps_the_fixed_order_when_its_discovery_was_given_another():
    run = discovered(a_run(), planned("a"), planned("b", parallelMode="race"), planned("c")).run
    run = closes(closes(run, "a").run, "b").run
    run = advance(run, returned(run, planned("d")), NOW).run
    assert run.plans[-1].order == ("a", "b")
    late = InvocationReturned(Call(f"{DISCOVERY}#2", 0, ("b",), NOW), (planned("e"),))
    run = advance(closes(run, "c").run, late, NOW).run
    assert run.plans[-1].order == ("a", "b")
    assert run.order == ("a", "b", "c")


def test_a_body_that_raises_until_its_last_try_fails_the_run():
    run = a_run()
    first = advance(run, InvocationFailed(returned(run).call, DOWN), NOW)
    assert not first.run.status.ended
    last = advance(first.run, InvocationFailed(returned(run, attempt=1).call, DOWN), NOW)
    assert last.run.status is RunStatus.FAILED


def test_a_body_that_must_not_be_retried_fails_the_run_at_once():
    run = a_run()
    assert advance(run, InvocationFailed(returned(run).call, DOWN, no_retry=True), NOW).run.status is RunStatus.FAILED


def test_trouble_of_the_platform_does_not_count_as_a_try():
    run = a_run()
    decision = advance(run, InvocationFailed(returned(run).call, DOWN, counts=False), NOW)
    assert decision.records == ()
    assert isinstance(decision.commands[0], Invoke)
    assert decision.commands[0].attempt == 0


def test_a_wait_ends_with_its_event_or_with_its_time():
    run = discovered(a_run(), ReportedOp("w", Opcode.WAIT_FOR_EVENT, "w", opts={"event": "e", "timeout": "1h"})).run
    matched = advance(run, EventMatched("w", "E2", b'{"name":"e"}', NOW), NOW).run.closed["w"]
    assert (matched.status, matched.memo) == (StepStatus.COMPLETED, b'{"name":"e"}')
    late = advance(run, TimerDue(TimerKind.STEP, "w"), NOW + timedelta(hours=1)).run.closed["w"]
    assert (late.status, late.memo) == (StepStatus.TIMED_OUT, b"null")


def test_an_event_received_exactly_at_the_time_out_of_a_wait_ends_it():
    run = discovered(a_run(), ReportedOp("w", Opcode.WAIT_FOR_EVENT, "w", opts={"event": "e", "timeout": "1h"})).run
    due = NOW + timedelta(hours=1)
    assert advance(run, EventMatched("w", "E2", b'{"name":"e"}', due), due).run.closed["w"].status is (
        StepStatus.COMPLETED
    )


def test_an_event_after_the_time_is_up_does_not_end_a_wait():
    run = discovered(a_run(), ReportedOp("w", Opcode.WAIT_FOR_EVENT, "w", opts={"event": "e", "timeout": "1h"})).run
    after = NOW + timedelta(hours=1, seconds=1)
    assert advance(run, EventMatched("w", "E2", b"{}", after), after).records == ()


def test_an_invoke_ends_with_what_the_child_returned_or_raised():
    run = discovered(a_run(), ReportedOp("i", Opcode.INVOKE_FUNCTION, "i", opts={"function_id": "a-g"})).run
    for is_failed, status in ((False, StepStatus.COMPLETED), (True, StepStatus.FAILED)):
        child = ChildFinished("i", b'{"data":1}', failed=is_failed, child_run_id="C")
        assert advance(run, child, NOW).run.closed["i"].status is status


def test_waits_open_before_steps_run_that_may_send_their_event():
    wait = ReportedOp("w", Opcode.WAIT_FOR_EVENT, "w", opts={"event": "e", "timeout": "1h"})
    invoke = ReportedOp("i", Opcode.INVOKE_FUNCTION, "i", opts={"function_id": "a-g"})
    commands = discovered(a_run(), planned("a"), invoke, wait).commands
    kinds = [type(command) for command in commands if not isinstance(command, SetTimer)]
    assert kinds == [OpenWait, StartRunFor, Invoke]


def test_a_planned_step_that_the_code_no_longer_knows_does_not_hold_up_others():
    run = discovered(a_run(), planned("a"), planned("b")).run
    run = closes(run, "a").run
    decision = advance(run, returned(run, job="b"), NOW)
    assert decision.run.closed["b"].status is StepStatus.VANISHED
    assert invoked(decision) == [f"{DISCOVERY}#3"]


def test_checkpointed_steps_are_recorded_and_nothing_else_happens():
    run = a_run(checkpoint=True)
    decision = advance(run, StepsCheckpointed(returned(run).call, (ran("a"), ran("b"))), NOW)
    assert decision.run.order == ("a", "b")
    assert decision.commands == ()


def test_a_cancelled_run_ends_at_once_whatever_is_open():
    run = discovered(a_run(), planned("a"), sleep("nap")).run
    assert advance(run, CancelRequested(Outcome.API, "why"), NOW).run.status is RunStatus.CANCELLED


def test_a_run_that_may_not_start_yet_is_begun_at_its_moment():
    later = NOW + timedelta(hours=1)
    queued = a_run(status=RunStatus.QUEUED, start_at=later)
    assert advance(queued, RunStarted(), NOW).commands == (SetTimer(TimerKind.BEGIN, later),)
    begun = advance(queued, TimerDue(TimerKind.BEGIN), later)
    assert begun.run.status is RunStatus.RUNNING
    assert invoked(begun) == [f"{DISCOVERY}#0"]


def test_time_limits_cancel_a_run_that_is_still_there():
    run = a_run(finish_by=NOW)
    decision = advance(run, TimerDue(TimerKind.FINISH_TIMEOUT), NOW)
    assert decision.run.status is RunStatus.CANCELLED
    assert decision.run.ended is not None
    assert decision.run.ended.outcome is Outcome.FINISH_TIMEOUT


def test_more_steps_than_allowed_fail_the_run_and_say_what_to_do():
    run = a_run(step_limit=2)
    decision = discovered(run, planned("a"), planned("b"), planned("c"))
    assert decision.run.status is RunStatus.FAILED
    assert decision.run.ended is not None
    assert b"Split the work" in bytes(decision.run.ended.output)  # type: ignore[arg-type]


def test_what_is_outstanding_follows_from_the_records_alone():
    run = discovered(a_run(), planned("a"), sleep("nap")).run
    commands = advance(run, RunResumed(None), NOW).commands
    assert [type(command) for command in commands] == [Invoke, SetTimer]
    run = closes(run, "a").run
    run = advance(run, TimerDue(TimerKind.STEP, "nap"), NOW + timedelta(minutes=1)).run
    assert invoked(advance(run, RunResumed(None), NOW)) == [f"{DISCOVERY}#3"]
