"""Queue over an SQS standard queue. An event source mapping of AWS consumes it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

from milepost_engine.adapters.clock import SystemClock
from milepost_engine.adapters.limits import MAX_MESSAGE_BYTES, check_message
from milepost_engine.adapters.random_source import SystemRandom
from milepost_engine.ports import Message

from .calls import AwsRefused, AwsRetries, Caller

__all__ = ["SqsQueue"]

_MESSAGES_PER_BATCH: Final = 10
_BYTES_PER_BATCH: Final = MAX_MESSAGE_BYTES  # of all bodies of a batch together


class SqsQueue:
    """Implements the Queue port; see its promises.

    Delays are rounded up to whole seconds, because SQS has no smaller unit. A call that raises AwsRefused or
    AwsUnreachable may have sent some of its messages. Sending all of them again is safe: any message may be delivered
    twice.
    """

    def __init__(self, caller: Caller, queue_url: str, *, retries: AwsRetries | None = None) -> None:
        self._caller = caller
        self._url = queue_url
        self._retries = retries or AwsRetries(SystemClock(), SystemRandom())

    async def send(self, messages: Sequence[Message]) -> None:
        """Sends the messages in as few calls as SQS allows, concurrently."""
        sizes = [check_message(message) for message in messages]
        await asyncio.gather(*map(self._send_batch, _batches(messages, sizes)))

    async def _send_batch(self, messages: list[Message]) -> None:
        waiting = {str(number): _entry(str(number), message) for number, message in enumerate(messages)}
        for attempt in range(self._retries.attempts):
            request = {"QueueUrl": self._url, "Entries": list(waiting.values())}
            answer = await self._caller.call("SendMessageBatch", request, repeatable=True)
            failures = answer.get("Failed") or []
            if not failures:
                return
            rejected = [failure for failure in failures if failure.get("SenderFault")]
            if rejected or attempt + 1 == self._retries.attempts:
                raise self._refusal((rejected or failures)[0], len(failures), len(messages))
            waiting = {failure["Id"]: waiting[failure["Id"]] for failure in failures}
            await self._retries.clock.sleep(self._retries.pause_after(attempt))

    def _refusal(self, failure: dict[str, Any], failed: int, total: int) -> AwsRefused:
        message = f"{failed} of {total} messages were not sent to {self._url}: {failure.get('Message', '')}"
        return AwsRefused("SendMessageBatch", failure.get("Code", "Unknown"), message, 200, failure)


def _entry(id_: str, message: Message) -> dict[str, Any]:
    entry: dict[str, Any] = {"Id": id_, "MessageBody": message.body}
    if message.delay_seconds:
        entry["DelaySeconds"] = math.ceil(message.delay_seconds)
    return entry


def _batches(messages: Sequence[Message], sizes: Sequence[int]) -> Iterator[list[Message]]:
    batch: list[Message] = []
    room = _BYTES_PER_BATCH
    for message, size in zip(messages, sizes, strict=True):
        if batch and (len(batch) == _MESSAGES_PER_BATCH or size > room):
            yield batch
            batch, room = [], _BYTES_PER_BATCH
        batch.append(message)
        room -= size
    if batch:
        yield batch
