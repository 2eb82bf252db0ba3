"""What a run still waits for, as commands: asked when a message arrives, and when a step has closed.

`DISCOVERY_FOLLOWS` says when a closed step causes the next discovery (rules 4 and 5 of `machine.py`).

Laws: no I/O, no clock, no randomness. The answer follows from the run alone, so it can be asked for at any moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final

from milepost.protocol import Opcode

from . import opcodes
from .commands import Command, Invoke, SetTimer
from .inputs import TimerKind
from .run import OpenOp, Run
from .view import Unseen

__all__ = [
    "DISCOVERY_FOLLOWS",
    "PEEK_DELAY",
    "Follows",
    "When",
    "after_closing",
    "commands_for",
    "discover",
    "discovery_follows",
    "outstanding",
    "peek_due",
]

PEEK_DELAY: Final = timedelta(milliseconds=250)
"""How long a finished parallel step waits for its siblings before a peek reads it without them."""


class When(IntEnum):
    """When the next discovery follows. The smallest wins if several kinds of step are unseen."""

    NOW = 0
    SOON = 1
    """After `PEEK_DELAY`, as a peek."""
    WAIT = 2
    """Not before another step closes."""


@dataclass(frozen=True, slots=True)
class Follows:
    """One row of `DISCOVERY_FOLLOWS`: `unseen` has closed, with or without planned steps in flight."""

    unseen: Unseen
    in_flight: tuple[bool, ...]
    peeks: tuple[bool, ...]
    when: When


_ANY: Final = (False, True)
_YES: Final = (True,)
_NO: Final = (False,)

# fmt: off
DISCOVERY_FOLLOWS: Final = (
    #       what no discovery has seen   steps in flight   early peeks        a discovery follows
    Follows(Unseen.START,                _ANY,             _ANY,              When.NOW),
    Follows(Unseen.RAN,                  _ANY,             _ANY,              When.NOW),
    Follows(Unseen.AWAITED,              _ANY,             _ANY,              When.NOW),
    Follows(Unseen.RACING,               _ANY,             _ANY,              When.NOW),
    Follows(Unseen.PARALLEL,             _NO,              _ANY,              When.NOW),
    Follows(Unseen.PARALLEL,             _YES,             _YES,              When.SOON),
    Follows(Unseen.PARALLEL,             _YES,             _NO,               When.WAIT),
    Follows(Unseen.NOTHING,              _ANY,             _ANY,              When.WAIT),
)
# fmt: on

_WHEN: Final = {
    (row.unseen, in_flight, peeks): row.when
    for row in DISCOVERY_FOLLOWS
    for in_flight in row.in_flight
    for peeks in row.peeks
}
_START: Final = frozenset({Unseen.START})
_NOTHING: Final = frozenset({Unseen.NOTHING})


def discovery_follows(run: Run) -> When:
    """When the next discovery of the run follows, by `DISCOVERY_FOLLOWS`."""
    view = run.view
    kinds = (view.unseen_kinds or _NOTHING) if view.discovered else _START
    in_flight = view.in_flight > 0
    return min([_WHEN[kind, in_flight, run.peeks] for kind in kinds])


def outstanding(run: Run, job: str | None, now: datetime) -> tuple[Command, ...]:
    """What a message about `job` still has to cause; with None, everything that the run waits for.

    A message asks for nothing that belongs to another message: two that asked for each other's work would multiply.
    """
    own = run.open_op(job) if job else None
    if own is not None:
        return commands_for(run, own, now)
    if job is not None and job in run.closed and job not in run.unseen:
        return ()  # the discovery that has seen it continues the run
    commands: list[Command] = []
    if discovery_follows(run) is When.NOW:
        commands.append(discover(run, now))
    elif job is not None and job in run.closed:
        commands += _peek(run, (job,), now)
    for plan in run.plans:
        if job is None or plan.job == job:
            for op in plan.ops:
                if op.step_id not in run.closed:
                    commands += commands_for(run, op, now)
    return tuple(commands)


def commands_for(run: Run, op: OpenOp, now: datetime) -> tuple[Command, ...]:
    """The commands that one piece of open work needs: a call for a planned step, a timer and the like for the rest."""
    if op.kind is Opcode.STEP_PLANNED:
        return (Invoke(op.step_id, run.attempt_of(op.step_id), run.next_try_at(op.step_id) or now),)
    plan = run.plan_of(op.step_id)
    return opcodes.open_commands(op, plan.recorded_at if plan else now, now)


def discover(run: Run, now: datetime) -> Invoke:
    """The next discovery of the run, at its next attempt."""
    job = run.discovery_job
    return Invoke(job, run.attempt_of(job), run.next_try_at(job) or now)


def after_closing(run: Run, closed: Iterable[str], now: datetime) -> tuple[Command, ...]:
    """What the steps that have just closed cause."""
    return (discover(run, now),) if discovery_follows(run) is When.NOW else _peek(run, tuple(closed), now)


def peek_due(run: Run, now: datetime) -> tuple[Command, ...]:
    """The discovery that a peek's timer causes; none without steps in flight: the last to close has caused it."""
    return (discover(run, now),) if run.in_flight and discovery_follows(run) is not When.WAIT else ()


def _peek(run: Run, closed: Iterable[str], now: datetime) -> tuple[Command, ...]:
    """The timer of a peek. Only the least unseen step sets it, so there is one timer and not one per step."""
    if discovery_follows(run) is When.SOON and min(run.unseen) in closed:
        return (SetTimer(TimerKind.PEEK, now + PEEK_DELAY),)
    return ()
