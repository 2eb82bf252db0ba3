"""The tick of every minute: timers that are due soon, cron lines, the sweeper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .wiring import Deployment, deployment, traced

__all__ = ["handler"]


@traced
def handler(event: Mapping[str, Any], context: Any) -> None:  # noqa: ARG001 - Lambda's shape
    """Called by a rule each minute. A tick that fails raises; the next one makes it good."""
    here = deployment()
    here.run(_tick(here))


async def _tick(here: Deployment) -> None:
    await here.ready()
    await here.engine.timers.tick()
