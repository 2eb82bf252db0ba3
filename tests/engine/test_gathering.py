"""Tasks that send at the same time share a request, and none waits for one that has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from milepost_engine.adapters.aws.batching import GatheringQueue
from milepost_engine.ports import Message


class Requests:
    """Implements Queue: keeps each request's bodies; refuses those that hold the word `bad`."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []

    async def send(self, messages: Sequence[Message]) -> None:
        bodies = [message.body for message in messages]
        await asyncio.sleep(0)
        if "bad" in bodies:
            raise OSError("refused")
        self.sent.append(bodies)


async def work(queue: GatheringQueue, *sends: str) -> None:
    try:
        for body in sends:
            await queue.send([Message(body)])
            await asyncio.sleep(0)
    finally:
        await queue.leave()


async def test_what_tasks_send_at_the_same_time_is_one_request():
    requests = Requests()
    queue = GatheringQueue(requests)
    queue.join(3)
    await asyncio.gather(work(queue, "a"), work(queue, "b"), work(queue, "c"))
    assert [sorted(sent) for sent in requests.sent] == [["a", "b", "c"]]


async def test_no_task_waits_for_a_task_that_sends_nothing():
    requests = Requests()
    queue = GatheringQueue(requests)
    queue.join(3)
    async with asyncio.timeout(5):
        await asyncio.gather(work(queue, "a", "a2", "a3"), work(queue), work(queue, "c"))
    assert sorted(body for sent in requests.sent for body in sent) == ["a", "a2", "a3", "c"]
    assert len(requests.sent) == 3


async def test_a_refused_request_raises_in_each_task_whose_message_was_in_it():
    queue = GatheringQueue(Requests())
    queue.join(2)
    raised = await asyncio.gather(work(queue, "fine"), work(queue, "bad"), return_exceptions=True)
    assert [str(error) for error in raised] == ["refused", "refused"]
    await queue.send([Message("later")])


async def test_no_task_waits_for_a_task_that_was_cancelled_while_it_waited():
    requests = Requests()
    queue = GatheringQueue(requests)
    queue.join(2)
    waiting = asyncio.create_task(work(queue, "cancelled"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(5):
        await work(queue, "other")
    assert "other" in [body for sent in requests.sent for body in sent]


async def test_without_tasks_announced_it_sends_at_once():
    requests = Requests()
    await GatheringQueue(requests).send([Message("a"), Message("b")])
    assert requests.sent == [["a", "b"]]
