"""What a message asks for when it comes: its own work, never another message's."""

from __future__ import annotations

from datetime import UTC, datetime

from milepost.protocol import Opcode
from milepost_engine.core.commands import Invoke
from milepost_engine.core.inputs import RunResumed
from milepost_engine.core.machine import advance
from milepost_engine.core.run import ClosedStep, OpenOp, Plan, Run, RunStatus, StepStatus

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def racing() -> Run:
    """Steps a and b race; a is done, nobody has looked at it yet."""
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


def test_the_message_of_a_closed_step_asks_for_the_look_at_it_alone():
    run = racing()
    assert jobs(run, "a") == [run.discovery_job]


def test_the_message_of_a_later_discovery_does_not_ask_for_the_steps_of_an_earlier_one():
    run = racing()
    assert jobs(run, run.discovery_job) == [run.discovery_job]


def test_the_message_of_a_discovery_asks_for_the_steps_that_it_planned():
    run = racing()
    assert jobs(run, "step#0") == sorted([run.discovery_job, "b"])


def test_a_message_that_comes_again_asks_for_everything():
    run = racing()
    assert jobs(run, None) == sorted([run.discovery_job, "b"])
