"""What a message that is delivered again still owes: what its own records led to, and nothing else.

Two messages that asked for each other's work would multiply, and each would begin what the other has in hand.
Laws: no I/O, no clock, no randomness.
"""

from __future__ import annotations

from datetime import datetime

from milepost.protocol import Opcode

from .commands import Command, FinishRun, Invoke, StartAgain
from .outstanding import after_closing, commands_for
from .run import OpenOp, Run, RunStatus, StepStatus

__all__ = ["closed_unseen", "owed", "owes_a_discovery"]


def owed(run: Run, message_id: str, now: datetime) -> tuple[Command, ...]:
    """The commands that follow from the records that a message wrote, as far as they are still outstanding."""
    if run.status.ended:
        return (FinishRun(), *_children_of(run, message_id, now))
    if run.status is not RunStatus.RUNNING or not message_id:
        return ()
    commands: list[Command] = [*_children_of(run, message_id, now)]
    for plan in run.plans:
        if plan.by == message_id:
            for op in plan.ops:
                if op.step_id not in run.closed:
                    commands += commands_for(run, op, now)
    for job, tries in run.failures.items():
        if tries[-1].by == message_id and (job == run.discovery_job or run.open_op(job) is not None):
            commands.append(Invoke(job, tries[-1].attempt + 1, tries[-1].next_at))
    if owes_a_discovery(run, message_id) and all(_job_of(command) != run.discovery_job for command in commands):
        closed = [step_id for step_id in run.unseen if run.closed[step_id].by == message_id]
        commands += after_closing(run, closed, now)
    return tuple(commands)


def _children_of(run: Run, message_id: str, now: datetime) -> list[StartAgain]:
    """The runs that a message may have created without sending their messages, and that nobody waits for any more:
    worker    plans the invoke ── creates the child ── dies
    timeout                                                 closes the invoke, or is about to
    worker                                                                       again: the child is there
    """
    return [
        StartAgain(op)
        for plan in run.plans
        if plan.by == message_id and message_id
        for op in plan.ops
        if op.kind is Opcode.INVOKE_FUNCTION and _abandoned(run, op, now)
    ]


def _abandoned(run: Run, op: OpenOp, now: datetime) -> bool:
    """Whether an invoke no longer waits for its child, although it has not heard of its end."""
    closed = run.closed.get(op.step_id)
    if closed is not None:
        return closed.status is StepStatus.TIMED_OUT
    return run.status.ended or (op.due_at is not None and op.due_at <= now)


def owes_a_discovery(run: Run, message_id: str) -> bool:
    """Whether the discovery that the run waits for is a message's: it closed what that discovery is to see, wrote the
    last plan, or holds the claim on the run.
    """
    planned = bool(run.plans) and run.plans[-1].by == message_id
    return closed_unseen(run, message_id) or planned or run.claimed_by == message_id


def closed_unseen(run: Run, message_id: str) -> bool:
    """Whether a message closed a step that no recorded discovery has seen."""
    return any(run.closed[step_id].by == message_id for step_id in run.unseen)


def _job_of(command: Command) -> str:
    return command.job if isinstance(command, Invoke) else ""
