"""A run that lives longer than its retention takes what it needs along: its own items, and its events."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from milepost_engine.core.run import Run
from milepost_engine.store.events import EventStore
from milepost_engine.store.runs import RunStore

__all__ = ["extend_retention"]

_ROUNDING: Final = timedelta(seconds=1)
"""Expiry is kept in whole seconds."""


async def extend_retention(
    runs: RunStore, events: EventStore, run: Run, known: datetime, *, alive_at: datetime | None = None
) -> datetime:
    """To be called before the latest records of a run are saved; until when everything of it is kept then.

    After a crash between the two the run is kept for too long; the other way round, retention would take a run that
    still lives. `known` is until when it is kept so far, as its header says: steps that an app saved itself have
    moved the moment on, but an app may not change what stands. `alive_at`: the run is known to live until then.
    """
    until = runs.keep_until(run, alive_at)
    if until <= known + _ROUNDING:
        return known
    for event_id in run.event_ids:
        await events.extend(event_id, until)
    # The header last of all: it says that everything else is kept as long.
    await runs.extend(run, until)
    return until
