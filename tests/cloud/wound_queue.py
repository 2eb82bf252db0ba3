"""The consumer's side of an SQS queue on a wound clock, as Lambda's event source mapping is.

Batches of at most ten are handled at once; what raised comes again after its visibility timeout, with its receive
count, and after too many receives it is a dead letter.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from milepost_engine.ports import Clock

__all__ = ["Delivery", "WoundQueue"]

BATCH = 10


@dataclass(frozen=True)
class Delivery:
    """What a consumer is handed; `receive_count` is 1 the first time.

    A `ghost` is a second delivery of a message that is handed out already: its failure brings nothing back.
    """

    body: str
    receive_count: int
    ghost: bool = False


class WoundQueue:
    """Messages that AWS has taken, due by the clock."""

    def __init__(self, clock: Clock, *, visibility: timedelta = timedelta(seconds=30), max_receives: int = 10) -> None:
        self._clock = clock
        self._visibility = visibility
        self._max_receives = max_receives
        self._order = itertools.count()
        self._waiting: list[tuple[datetime, int, Delivery]] = []
        self.dead: list[tuple[str, str]] = []
        self.batches = 0

    def take(self, body: str, delay_seconds: float = 0.0, *, receive_count: int = 0, ghost: bool = False) -> None:
        due = self._clock.now() + timedelta(seconds=delay_seconds)
        heapq.heappush(self._waiting, (due, next(self._order), Delivery(body, receive_count + 1, ghost)))

    def next_due(self) -> datetime | None:
        return self._waiting[0][0] if self._waiting else None

    def receive(self, most: int = BATCH) -> list[Delivery]:
        """What is due, at most so many."""
        now = self._clock.now()
        received: list[Delivery] = []
        while self._waiting and self._waiting[0][0] <= now and len(received) < most:
            received.append(heapq.heappop(self._waiting)[2])
        return received

    async def drain(self, handler: Callable[[Delivery], Awaitable[None]]) -> None:
        """Handle what is due now, and what becomes due meanwhile."""
        while batch := self.receive():
            self.batches += 1
            await asyncio.gather(*(self._handle(delivery, handler) for delivery in batch))

    async def dead_letters(self) -> list[tuple[str, str]]:
        return self.dead

    async def _handle(self, delivery: Delivery, handler: Callable[[Delivery], Awaitable[None]]) -> None:
        try:
            await handler(delivery)
        except Exception as error:  # noqa: BLE001 - whatever it is, the message comes again
            self.come_again(delivery, error)

    def come_again(self, delivery: Delivery, problem: BaseException) -> None:
        """A receive that ended without a deletion."""
        if delivery.ghost:
            return
        if delivery.receive_count >= self._max_receives:
            self.dead.append((delivery.body, repr(problem)))
        else:
            self.take(delivery.body, self._visibility.total_seconds(), receive_count=delivery.receive_count)
