"""Chains of events: each started a run that sent the next. One that never ends is a loop; it is stopped at a limit.

The server says with each call how many events led to the run, and an event that the run sends carries one more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from milepost._values.current import here, in_run
from milepost.errors import EventLoopError
from milepost.protocol import EXTENSION

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from milepost._values.json_types import JsonObject

__all__ = ["chained"]


def chained(
    events: Sequence[JsonObject], most: int, logger: Callable[[], logging.Logger] | None = None
) -> Sequence[JsonObject]:
    """The events with their place in the chain, if a run sends them. Raises EventLoopError beyond the limit."""
    run = in_run.get()
    if run is None:
        return events
    place = run.call.chain + 1
    if place > most:
        names = ", ".join(sorted({repr(event["name"]) for event in events}))
        raise EventLoopError(
            f"event {names}{here()} would be number {place} of a chain in which each event started a run that sent "
            f"the next; at most {most} are allowed. If functions start each other in a circle, break it. If the chain "
            "is intended, raise App(max_chain=…), or let a run take more than ten minutes"
        )
    if logger is not None and place == most // 2 + 1:
        logger().warning(
            "milepost: an event%s is number %d of a chain in which each event started a run that sent the next; "
            "the chain is stopped after %d (App(max_chain=…))", here(), place, most,
        )  # fmt: skip
    return [{**event, EXTENSION: {"chain": place}} for event in events]
