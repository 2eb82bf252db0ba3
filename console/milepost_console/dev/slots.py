"""Shares the slots in which user code runs among functions, so that slow functions do not hold up quick ones.

`most` calls run at the same time. When all slots are taken, one that becomes free goes to the function that has the
fewest. A function that has none need not wait for that: it gets one of a few spare slots.

    slow    64 calls run, 100 wait
    quick   arrives: nothing of it runs, so its first call takes a spare slot at once
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["CONCURRENCY", "FairSlots"]

CONCURRENCY: Final = 64
"""Calls of user code at the same time, by default."""
SPARE: Final = 16
"""Slots for functions of which nothing runs."""
_PATIENCE: Final = 2.0
"""Calls that wait for less than this many seconds are not reported."""


class FairSlots:
    """Implements the Slots port.

    `waits` is called when calls have waited for a while, with the number of slots that each function has, and with an
    empty mapping when no call is waiting any more.
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
        """How many calls are waiting."""
        return sum(map(len, self._waiting.values()))

    async def take(self, function_id: str) -> bool:
        """Take a slot; returns whether the call had to wait for it."""
        if self._has_room(function_id):
            self._taken[function_id] += 1
            return False
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(function_id, deque()).append(slot)
        if self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(_PATIENCE, self._say)
        try:
            await slot
        except asyncio.CancelledError:
            if slot.done() and not slot.cancelled():
                self.give_back(function_id)
            raise
        return True

    def give_back(self, function_id: str) -> None:
        """Give a slot back; the next call in line gets it."""
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
        # The calls of one function wait in line.
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
            slot = line.popleft()
            if not line:
                del self._waiting[function_id]
            if not slot.done():
                self._taken[function_id] += 1
                slot.set_result(None)
