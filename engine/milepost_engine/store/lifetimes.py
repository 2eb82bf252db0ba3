"""How long runs and events are kept: the retention, rounded up so that keeping a living run longer is rare.

Extending a run's retention costs a write for each of its items, so no sleep, wait or retry of an ordinary run may do
it. A run that lives for at most a thirtieth of its retention (one day of thirty) never extends it; a longer one
extends it each time its age doubles.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

__all__ = ["lifetime"]

_GRANULES: Final = 30


def lifetime(retention: timedelta, lived: timedelta = timedelta(0)) -> timedelta:
    """How long after its start something is kept that is known to live for `lived`."""
    granule = retention / _GRANULES
    while granule < lived:
        granule *= 2
    return granule + retention
