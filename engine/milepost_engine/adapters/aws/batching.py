"""A queue that gathers the messages of several tasks into one request.

    task 1   accepts an event ── sends ······ waits ·······┐
    task 2      accepts an event ─────── sends ··· waits ··┤ one request ── all continue
    task 3   accepts an event, starts nothing: leaves ─────┘
It sends as soon as every task that is still at work is waiting for it; no timer is involved.
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
        """Announces tasks that start now; each must call `leave` once, even if it fails."""
        self._at_work += tasks

    async def leave(self) -> None:
        """A task has ended; the others may have been waiting only for it."""
        self._at_work -= 1
        await self._send_if_all_wait()

    async def send(self, messages: Sequence[Message]) -> None:
        """Sends the messages with those of other tasks. What the inner queue raises is raised in each of them."""
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
        except Exception as error:  # noqa: BLE001 - raised in every task whose message it was
            problem = error
        for _, future in gathered:
            if future.done():
                continue  # its task was cancelled meanwhile
            if problem is None:
                future.set_result(None)
            else:
                future.set_exception(problem)
