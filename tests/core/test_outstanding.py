"""What a message asks for: its own work, never another message's. When a discovery follows a closed step."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

from milepost.protocol import Opcode
from milepost_engine.core.commands import Invoke, SetTimer
from milepost_engine.core.inputs import Call, InvocationReturned, ReportedOp, RunResumed, TimerDue, TimerKind
from milepost_engine.core.machine import Decision, advance
from milepost_engine.core.outstanding import DISCOVERY_FOLLOWS, PEEK_DELAY
from milepost_engine.core.run import ClosedStep, OpenOp, Plan, Run, RunStatus, StepStatus
from milepost_engine.core.view import Unseen

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def racing() -> Run:
    """Steps a and b race; a is finished, and no discovery has seen it yet."""
    run = Run("r", "app", "f", RunStatus.RUNNING, ("e",), "go", NOW)
    ops = tuple(OpenOp(name, Opcode.STEP_PLANNED, name, opts={"parallelMode": "race"}) for name in "ab")
    run = run.with_record(Plan(0, "step#0", (), ops, NOW))
    done = ClosedStep("a", Opcode.STEP_RUN, "a", StepStatus.COMPLETED, b'{"data":1}', 1, "a", 0, NOW, NOW)
    return run.with_record(done)


def jobs(run: Run, job: str | None) -> list[str]:
    commands = advance(run, RunResumed(job), NOW).commands
    return sorted(command.job for command in commands if isinstance(command, Invoke))


def test_the_message_of_an_open_step_asks_for_that_step_alone():
    assert jobs(racing(), "b") == ["b"]


def test_the_message_of_a_closed_step_asks_for_its_discovery_alone():
    run = racing()
    assert jobs(run, "a") == [run.discovery_job]


def test_the_message_of_a_later_discovery_does_not_ask_for_the_steps_of_an_earlier_one():
    run = racing()
    assert jobs(run, run.discovery_job) == [run.discovery_job]


def test_the_message_of_a_discovery_asks_for_the_steps_that_it_planned():
    run = racing()
    assert jobs(run, "step#0") == sorted([run.discovery_job, "b"])


def test_the_sweeper_asks_for_everything():
    run = racing()
    assert jobs(run, None) == sorted([run.discovery_job, "b"])


def test_the_table_answers_each_case_exactly_once():
    cases = [
        (row.unseen, in_flight, peeks)
        for row in DISCOVERY_FOLLOWS
        for in_flight in row.in_flight
        for peeks in row.peeks
    ]
    assert sorted(cases) == sorted(product(Unseen, (False, True), (False, True)))


def parallel(*names: str, peeks: bool = True) -> Run:
    """Steps that run side by side, planned and not finished."""
    run = Run("r", "app", "f", RunStatus.RUNNING, ("e",), "go", NOW, peeks=peeks)
    ops = tuple(OpenOp(name, Opcode.STEP_PLANNED, name) for name in names)
    return run.with_record(Plan(0, "step#0", (), ops, NOW))


def close(run: Run, name: str) -> Decision:
    call = Call(name, 0, (), NOW)
    return advance(run, InvocationReturned(call, (ReportedOp(name, Opcode.STEP_RUN, name, data=b"1"),)), NOW)


def test_only_the_least_unseen_step_asks_for_a_peek():
    peek = (SetTimer(TimerKind.PEEK, NOW + PEEK_DELAY),)
    second = close(parallel("a", "b", "c", "d"), "b")
    third = close(second.run, "c")
    first = close(third.run, "a")
    assert [decision.commands for decision in (second, third, first)] == [peek, (), peek]


def test_a_redelivered_message_of_a_finished_step_asks_for_the_peek_only_if_it_is_the_least_unseen():
    run = close(close(parallel("a", "b", "c"), "a").run, "b").run
    asked = {job: advance(run, RunResumed(job), NOW).commands for job in "ab"}
    assert asked == {"a": (SetTimer(TimerKind.PEEK, NOW + PEEK_DELAY),), "b": ()}


def test_no_peek_is_asked_for_where_the_sdk_cannot_use_it():
    assert close(parallel("a", "b", peeks=False), "a").commands == ()


def test_a_peek_that_is_due_looks_at_what_is_unseen_while_siblings_are_in_flight():
    run = close(parallel("a", "b"), "a").run
    peek = TimerDue(TimerKind.PEEK)
    assert advance(run, peek, NOW).commands == (Invoke(run.discovery_job, 0, NOW),)
    assert advance(parallel("a", "b"), peek, NOW).commands == ()


def test_a_peek_that_is_due_after_the_last_sibling_has_closed_changes_nothing():
    run = close(close(parallel("a", "b"), "a").run, "b").run
    assert advance(run, TimerDue(TimerKind.PEEK), NOW) == Decision(run)
