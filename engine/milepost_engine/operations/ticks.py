"""The tick that a function with a cron line gets when it is started by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from milepost_engine.codec import Json
from milepost_engine.intake.intake import tick_data
from milepost_engine.store.manifest import CronTrigger, FunctionSpec

from .actions import OperationError

__all__ = ["tick_by_hand"]


def tick_by_hand(
    spec: FunctionSpec, data: Mapping[str, Json], at: datetime | None, now: datetime
) -> dict[str, Json] | None:
    """The data of a tick of the function's first cron line, due at `at`, by default now; None if it gets an event.

    Raises OperationError for `at` if there is no cron line.
    """
    lines = [trigger.text for trigger in spec.triggers if isinstance(trigger, CronTrigger)]
    if not lines:
        if at is None:
            return None
        raise OperationError(
            "MP325", f"Function {spec.function_id!r} has no cron line, so it has no ticks: start it without a time."
        )
    if at is None and data and len(lines) < len(spec.triggers):
        return None  # it is meant for its events
    return tick_data(lines[0], (at or now).astimezone(UTC), now)
