"""What a run still waits for, as commands: asked when a message comes, and when a step has closed.

Laws: no I/O, no clock, no chance; it follows from the run alone, so it can be asked for again at any moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from milepost.protocol import Opcode

from . import opcodes
from .commands import Command, Invoke, SetTimer
from .inputs import TimerKind
from .run import OpenOp, Run

__all__ = ["PEEK_DELAY", "after_closing", "commands_for", "discover", "discovery_due", "outstanding"]

PEEK_DELAY: Final = timedelta(milliseconds=250)
"""How long a finished parallel step waits for its siblings before the function may look at it alone."""


def outstanding(run: Run, job: str | None, now: datetime) -> tuple[Command, ...]:
    """What a message about `job` still has to bring about; None: everything that the run waits for.

    A message asks for nothing that is another message's own: two that asked for each other's work would multiply.
    """
    own = run.open_op(job) if job else None
    if own is not None:
        return commands_for(run, own, now)
    if job is not None and job in run.closed and job not in run.unseen:
        return ()  # the discovery that has seen it goes on
    commands: list[Command] = []
    if discovery_due(run):
        commands.append(discover(run, now))
    elif job is not None and job in run.closed:
        commands += peek(run, (job,), now)
    for plan in run.plans:
        if job is None or plan.job == job:
            for op in plan.ops:
                if op.step_id not in run.closed:
                    commands += commands_for(run, op, now)
    return tuple(commands)


def commands_for(run: Run, op: OpenOp, now: datetime) -> tuple[Command, ...]:
    if op.kind is Opcode.STEP_PLANNED:
        return (Invoke(op.step_id, run.attempt_of(op.step_id), run.next_try_at(op.step_id) or now),)
    plan = run.plan_of(op.step_id)
    return opcodes.open_commands(op, plan.recorded_at if plan else now)


def discover(run: Run, now: datetime) -> Invoke:
    job = run.discovery_job
    return Invoke(job, run.attempt_of(job), run.next_try_at(job) or now)


def discovery_due(run: Run) -> bool:
    if not run.discovered:
        return True
    view = run.view
    # Rule 5: planned steps wait for their siblings, unless they race; all else goes on at once.
    return len(view.order) > view.seen and (not view.in_flight or view.urgent)


def peek(run: Run, closed: Iterable[str], now: datetime) -> tuple[Command, ...]:
    """A look soon at what finished early. Only the least unseen step asks for it, so that one asks, not each."""
    unseen = run.unseen
    if run.peeks and run.in_flight and unseen and min(unseen) in closed:
        return (SetTimer(TimerKind.PEEK, now + PEEK_DELAY),)
    return ()


def after_closing(run: Run, closed: Iterable[str], now: datetime) -> tuple[Command, ...]:
    if discovery_due(run):
        return (discover(run, now),)
    return peek(run, tuple(closed), now)
