"""When the sweeper checks a run that has lived long, and how it decides whether the run is overdue."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, cast

from milepost.protocol import Opcode
from milepost_engine.core.outstanding import When, discovery_follows
from milepost_engine.core.run import Run
from milepost_engine.store.runs import StepClaim

__all__ = [
    "LATEST_START",
    "WATCH_GRACE",
    "WATCH_LONGEST",
    "Found",
    "check",
    "dues",
    "grace_of",
    "may_be_at_work",
    "next_check",
    "quiet_since",
]

WATCH_GRACE: Final = timedelta(minutes=15)
"""A run that has been quiet for this long, with nothing under way, is overdue."""
LATEST_START: Final = timedelta(minutes=4)
"""An invocation that was handed over and has not begun by then never begins; a signature is good for five minutes."""
WATCH_LONGEST: Final = timedelta(days=7)
"""A run is checked at least this often."""
_JUST_AFTER: Final = timedelta(seconds=1)
_YOUNG: Final = timedelta(hours=1)
"""Checks get rarer: within this time a plan is checked twice."""


def quiet_since(run: Run) -> datetime:
    """When the run last left a trace, or will be due next. A claim is one: whoever made it may be in a step's body.

    messages waited for an hour     worker 1   claims the run ── calls: charge
                                    sweeper         the run is an hour old: is it lost, or has it just begun?
    """
    traces = [
        run.start_at or run.queued_at,
        *([run.claimed_at] if run.claimed_at else []),
        *(step.closed_at for step in run.closed.values()),
    ]
    traces += [plan.recorded_at for plan in run.plans]
    traces += [tried.next_at for tries in run.failures.values() for tried in tries]
    return max(traces)


def grace_of(run: Run) -> timedelta:
    """How long a run may be quiet: nothing is heard of an invocation that was handed over before its app reports."""
    if not run.target.get("reports"):
        return WATCH_GRACE
    return WATCH_GRACE + LATEST_START + timedelta(seconds=float(cast("float", run.target["timeout"])))


def may_be_at_work(run: Run, claim: StepClaim, now: datetime) -> bool:
    """Whether who claimed a planned step may still be in its body."""
    return claim.made_at is not None and now - claim.made_at <= grace_of(run)


def dues(run: Run, now: datetime) -> list[datetime]:
    """The moments that open sleeps, waits and invokes are due at."""
    return [op.due_at for op in run.open_ops if op.due_at is not None and op.due_at > now]


class Found(StrEnum):
    """What a check of a run finds. UNCERTAIN: it may wait for something that was never asked for."""

    WELL = "well"
    UNCERTAIN = "uncertain"
    OVERDUE = "overdue"


def check(run: Run, now: datetime) -> Found:
    """Whether what the run waits for should have come.

    A worker may save a plan and die while its message is dropped as a duplicate: then nobody has opened the
    wait or started the child. Asking once more is harmless, so it is done while the plan is young.
    """
    quiet = now - quiet_since(run)
    if quiet <= grace_of(run):
        return Found.WELL
    # A discovery may be lost beside a sleep that lasts for months.
    if run.in_flight or discovery_follows(run) is When.NOW or not dues(run, now):
        return Found.OVERDUE
    return Found.UNCERTAIN if quiet < _YOUNG and not _only_sleeps(run) else Found.WELL


def next_check(run: Run, now: datetime) -> datetime:
    """When to check the run again.

    One that only sleeps needs a check after it should have woken. One that waits for others may lose what they send at
    any time: it is checked again after as long as it has been quiet, so that checks get rarer while nothing happens
    (a dozen in a month), and are frequent again once something did.
    """
    ahead = dues(run, now)
    soonest = min(ahead, default=now) + WATCH_GRACE
    if ahead and _only_sleeps(run) and discovery_follows(run) is not When.NOW:
        return min(soonest, now + WATCH_LONGEST)
    after_quiet = now + max(WATCH_GRACE, now - quiet_since(run))
    moments = [after_quiet, now + WATCH_LONGEST, *([soonest] if ahead else [])]
    lost_from = quiet_since(run) + grace_of(run) + _JUST_AFTER
    if run.target.get("reports") and lost_from > now:
        moments.append(lost_from)
    return min(moments)


def _only_sleeps(run: Run) -> bool:
    return all(op.kind is Opcode.SLEEP for op in run.open_ops)
