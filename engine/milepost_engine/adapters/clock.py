"""The two sources of time: the system's clock, and one that a test winds by hand.

Laws: nothing else in the engine reads a clock; `now` is aware, in UTC, and never goes backwards.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

__all__ = ["SystemClock", "WoundClock", "wall"]

_SETTLING_TURNS: Final = 100
"""Turns of the event loop granted to what a wake-up sets in motion; an idle turn costs 2 µs."""


wall: Final = partial(datetime.now, UTC)
"""What the system's clock shows, whether that has been set back or not."""


class SystemClock:
    """Wall-clock time; if the system's clock is set back, time goes on at its pace until that has caught up.

    Standing still instead would keep every timer from its end for as long. `wall` and `monotonic` are for tests.
    """

    def __init__(self, wall: Callable[[], datetime] = wall, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._latest = wall()
        self._read_at = monotonic()

    def now(self) -> datetime:
        """The current moment, with microseconds."""
        read_at = self._monotonic()
        moment = self._wall()
        if moment < self._latest:
            moment = self._latest + timedelta(seconds=read_at - self._read_at)
        self._latest, self._read_at = moment, read_at
        return moment

    async def sleep(self, seconds: float) -> None:
        """Returns after at least so many seconds of the event loop's monotonic time."""
        await asyncio.sleep(seconds)


class WoundClock:
    """A clock for tests: it stands still until it is wound, and sleepers wake exactly at their moment.

    It serves one event loop at a time. A sleep of no time only gives way to others once.
    """

    def __init__(self, start: datetime | None = None) -> None:
        start = start or datetime(2030, 1, 1, tzinfo=UTC)
        if start.tzinfo is None:
            raise ValueError("WoundClock needs an aware start, for example datetime(2030, 1, 1, tzinfo=UTC)")
        self._now = start.astimezone(UTC)
        self._order = itertools.count()
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """The moment to which the clock was wound last."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Returns when the clock has been wound past the moment."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        awake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + timedelta(seconds=seconds), next(self._order), awake))
        await awake

    def next_wake(self) -> datetime | None:
        """The moment at which the first sleeper wakes, or None if nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():  # its sleeper was cancelled
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def advance(self, seconds: float) -> None:
        """Winds the clock forward; sleepers wake in order, each at its moment, and run before the next."""
        if seconds < 0:
            raise ValueError(f"time does not go backwards: advance({seconds})")
        await self.advance_to(self._now + timedelta(seconds=seconds))

    async def advance_to(self, moment: datetime) -> None:
        """Winds the clock to the moment; does nothing but settle if the moment has passed."""
        await _settle()
        while (wake := self.next_wake()) is not None and wake <= moment:
            self._now = max(self._now, wake)
            heapq.heappop(self._sleepers)[2].set_result(None)
            await _settle()
        self._now = max(self._now, moment.astimezone(UTC))
        await _settle()


async def _settle() -> None:
    for _ in range(_SETTLING_TURNS):
        await asyncio.sleep(0)
