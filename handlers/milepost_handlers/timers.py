"""The tick of every minute: timers due soon, cron schedules, the sweeper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .wiring import Deployment, deployment, traced

__all__ = ["handler"]


@traced
def handler(event: Mapping[str, Any], context: Any) -> None:  # noqa: ARG001 - Lambda's shape
    """Called by a rule every minute. A failed tick raises; the next one catches up."""
    here = deployment()
    here.run(_tick(here))


async def _tick(here: Deployment) -> None:
    await here.ready()
    await here.engine.timers.tick()
