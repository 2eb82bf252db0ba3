"""Shares the places in which user code runs among functions, so that slow functions do not hold up quick ones.

`most` calls run at the same time. When all places are taken, one that becomes free goes to the function that has the
fewest. A function that has none need not wait for that: it gets one of a few spare places.

    slow    64 calls run, 100 wait
    quick   arrives: nothing of it runs, so its first call takes a spare place at once
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["CONCURRENCY", "Hands"]

CONCURRENCY: Final = 64
"""Calls of user code at the same time, by default."""
SPARE: Final = 16
"""Places for functions of which nothing runs."""
_PATIENCE: Final = 2.0
"""Calls that wait for less than this many seconds are not worth a word."""


class Hands:
    """Implements the Slots port.

    `waits` is called when calls have waited for a while, with how many places each function has, and with nothing when
    none waits any more.
    """

    def __init__(self, most: int = CONCURRENCY, waits: Callable[[Mapping[str, int]], None] = lambda _: None) -> None:
        self._most = most
        self._waits = waits
        self._taken: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._said = False

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return sum(map(len, self._waiting.values()))

    async def take(self, function_id: str) -> bool:
        """Take a place; returns whether it had to be waited for."""
        if self._has_room(function_id):
            self._taken[function_id] += 1
            return False
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(function_id, deque()).append(place)
        if self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(_PATIENCE, self._say)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.give_back(function_id)
            raise
        return True

    def give_back(self, function_id: str) -> None:
        """Give a place back; the next one that waits gets it."""
        self._taken[function_id] -= 1
        if self._taken[function_id] == 0:
            del self._taken[function_id]
        self._hand_out()
        if self._alarm is not None and not self._waiting:
            self._alarm.cancel()
            self._alarm = None
            if self._said:
                self._said = False
                self._waits({})

    def _say(self) -> None:
        self._said = True
        self._waits(dict(self._taken))

    def _has_room(self, function_id: str) -> bool:
        # A function's own calls wait in line.
        return function_id not in self._waiting and self._fits(function_id)

    def _fits(self, function_id: str) -> bool:
        total = self._taken.total()
        return total < self._most or (function_id not in self._taken and total < self._most + SPARE)

    def _hand_out(self) -> None:
        while self._waiting:
            function_id = min(self._waiting, key=lambda each: self._taken[each])
            if not self._fits(function_id):
                return
            line = self._waiting[function_id]
            place = line.popleft()
            if not line:
                del self._waiting[function_id]
            if not place.done():
                self._taken[function_id] += 1
                place.set_result(None)
