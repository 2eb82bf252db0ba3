"""When the sweeper looks at a run that has lived long, and what it goes by."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from .core.run import Run

__all__ = ["WATCH_GRACE", "WATCH_LONGEST", "dues", "quiet_since"]

WATCH_GRACE: Final = timedelta(minutes=15)
"""A run that has been quiet for this long, with nothing under way, is overdue."""
WATCH_LONGEST: Final = timedelta(days=7)
"""A run is looked at at least this often."""


def quiet_since(run: Run) -> datetime:
    """When the run last left a trace, or will be due next."""
    traces = [run.start_at or run.queued_at, *(step.closed_at for step in run.closed.values())]
    traces += [plan.recorded_at for plan in run.plans]
    traces += [tried.next_at for tries in run.failures.values() for tried in tries]
    return max(traces)


def dues(run: Run, now: datetime) -> list[datetime]:
    """The moments that open sleeps, waits and invokes are due at."""
    return [op.due_at for op in run.open_ops if op.due_at is not None and op.due_at > now]
