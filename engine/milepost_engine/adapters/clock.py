"""The two clocks: the system's, and one that a test winds by hand.

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
"""Turns of the event loop given to tasks that a wake-up has set in motion; an idle turn costs 2 µs."""


wall: Final = partial(datetime.now, UTC)
"""The system's clock as it stands, even if it has been set back."""


class SystemClock:
    """Wall-clock time. If the system's clock is set back, time continues at its normal pace until the clock catches up.

    Standing still instead would delay every timer by as much. `wall` and `monotonic` are for tests.
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
        """Returns after at least this many seconds of the event loop's monotonic time."""
        await asyncio.sleep(seconds)


class WoundClock:
    """A clock for tests: it stands still until it is wound, and sleepers wake exactly when they are due.

    It serves one event loop at a time. A sleep of 0 seconds yields to the loop once.
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
        """Returns when the clock has been wound that far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        awake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + timedelta(seconds=seconds), next(self._order), awake))
        await awake

    def next_wake(self) -> datetime | None:
        """When the first sleeper wakes, or None if there is none."""
        while self._sleepers and self._sleepers[0][2].done():  # its sleeper was cancelled
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def advance(self, seconds: float) -> None:
        """Winds the clock forward; sleepers wake in order, each when it is due, and run before the next one wakes."""
        if seconds < 0:
            raise ValueError(f"time does not go backwards: advance({seconds})")
        await self.advance_to(self._now + timedelta(seconds=seconds))

    async def advance_to(self, moment: datetime) -> None:
        """Winds the clock to the moment; if the moment has passed, only lets ready tasks run."""
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
