"""The tick of every minute: timers due soon, cron schedules, the sweeper."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from .wiring import Deployment, deployment, traced

__all__ = ["handler"]

_SPARE: Final = timedelta(seconds=15)
"""Reserved for what has begun when no more may begin: the first pages of one minute, with retries."""


@traced
def handler(event: Mapping[str, Any], context: Any) -> None:  # noqa: ARG001 - Lambda's shape
    """Called by a rule every minute. A failed tick raises; the next one catches up."""
    here = deployment()
    left = timedelta(milliseconds=context.get_remaining_time_in_millis())
    here.run(_tick(here, here.clock.now() + left - _SPARE))


async def _tick(here: Deployment, deadline: datetime) -> None:
    await here.ready()
    await here.engine.timers.tick(deadline)
