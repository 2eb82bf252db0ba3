"""A queue that sends what several tasks send at once in one request, where each would make one of its own.

    task 1   takes an event in ── sends ······ waits ·······┐
    task 2      takes an event in ─────── sends ··· waits ··┤ one request ── all go on
    task 3   takes an event in, starts nothing: leaves ─────┘
It sends as soon as every task that is still at work waits for it, so nothing waits for a clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from milepost_engine.ports import Message, Queue

__all__ = ["GatheringQueue"]


class GatheringQueue:
    """Implements the Queue port over another one. Without tasks announced by `join` it sends at once."""

    def __init__(self, inner: Queue) -> None:
        self._inner = inner
        self._at_work = 0
        self._waiting: list[tuple[Sequence[Message], asyncio.Future[None]]] = []

    def join(self, tasks: int) -> None:
        """So many tasks begin, each of which will call `leave` once, whatever becomes of it."""
        self._at_work += tasks

    async def leave(self) -> None:
        """A task has ended; those that are left may have waited for it alone."""
        self._at_work -= 1
        await self._send_if_all_wait()

    async def send(self, messages: Sequence[Message]) -> None:
        """Sends the messages, with those of other tasks. Raises what the queue below raises, to each of them."""
        if not self._at_work:
            await self._inner.send(messages)
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((messages, future))
        await self._send_if_all_wait()
        await future

    async def _send_if_all_wait(self) -> None:
        if not self._waiting or len(self._waiting) < self._at_work:
            return
        gathered, self._waiting = self._waiting, []
        problem: Exception | None = None
        try:
            await self._inner.send([message for messages, _ in gathered for message in messages])
        except Exception as error:  # noqa: BLE001 - handed to everyone whose message it was
            problem = error
        for _, future in gathered:
            if future.done():
                continue  # its task was cancelled meanwhile
            if problem is None:
                future.set_result(None)
            else:
                future.set_exception(problem)
