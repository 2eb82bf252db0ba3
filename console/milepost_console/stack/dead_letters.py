"""The dead letters of a stack: seen and delivered again through SQS.

SQS shows a message only to who receives it, which hides it for a while and counts: after a look it is shown again at
once. Delivering again is send, then delete: whoever is interrupted between the two leaves the message twice, which the
engine takes as once.

    dead-letter queue ── receive ──► here ── send ──► the queue that it came from
           └──────────── delete ◄────────────────────────┘
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from milepost_engine.adapters.aws.calls import Caller
from milepost_engine.adapters.local.queue import DeadLetter
from milepost_engine.codec import loads

__all__ = ["SqsDeadLetters"]

_BATCH: Final = 10
_HIDDEN_SECONDS: Final = 60
"""Long enough to look at a queue's messages, short enough that an interrupted look does no harm."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class SqsDeadLetters:
    """Implements the server's DeadLetters.

    Args:
        caller: SQS.
        dead: URLs of the dead-letter queues.
        sources: URLs of the queues whose messages they take; found out which by their redrive policies.
        undelivered_to: Where the messages of a dead-letter queue without a source go (those of EventBridge's rules).
    """

    def __init__(self, caller: Caller, dead: Sequence[str], sources: Sequence[str], undelivered_to: str) -> None:
        self._caller = caller
        self._dead = tuple(dead)
        self._sources = tuple(sources)
        self._undelivered_to = undelivered_to

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """At most so many, the latest first. SQS does not keep when or why, except what EventBridge says."""
        found: list[DeadLetter] = []
        for url in self._dead:
            messages = [message async for message in self._messages(url, limit)]
            found += [_letter(url, message) for message in messages]
            await self._show_again(url, messages)
        return sorted(found, key=lambda letter: letter.sent_at or _EPOCH, reverse=True)[:limit]

    async def redrive(self, ids: Sequence[int | str] | None = None) -> int:
        """Deliver messages again, with a fresh count: those named, or all. Returns how many."""
        wanted = None if ids is None else {str(id_) for id_ in ids}
        moved = 0
        for url in self._dead:
            to = await self._source_of(url)
            passed_by: list[Mapping[str, Any]] = []
            async for message in self._messages(url, None):
                if wanted is None or message["MessageId"] in wanted:
                    await self._move(message, url, to)
                    moved += 1
                else:
                    passed_by.append(message)
            await self._show_again(url, passed_by)
        return moved

    async def _messages(self, url: str, limit: int | None) -> AsyncIterator[Mapping[str, Any]]:
        """Each message once: as many as SQS counts, and those that come along with them."""
        counted = await self._count(url)
        seen: set[str] = set()
        while len(seen) < counted and (limit is None or len(seen) < limit):
            request = {
                "QueueUrl": url,
                "MaxNumberOfMessages": _BATCH,
                "VisibilityTimeout": _HIDDEN_SECONDS,
                # Asks all of SQS's servers, not a few of them.
                "WaitTimeSeconds": 1,
                "MessageSystemAttributeNames": ["All"],
                "MessageAttributeNames": ["All"],
            }
            answer = await self._caller.call("ReceiveMessage", request, repeatable=True)
            # A queue so long that its first messages are back before its last: enough was seen.
            fresh = [message for message in answer.get("Messages", ()) if message["MessageId"] not in seen]
            if not fresh:
                return
            for message in fresh:
                seen.add(message["MessageId"])
                yield message

    async def _count(self, url: str) -> int:
        """How many messages lie there, as SQS counts: up to a minute late."""
        attribute = "ApproximateNumberOfMessages"
        request = {"QueueUrl": url, "AttributeNames": [attribute]}
        answer = await self._caller.call("GetQueueAttributes", request, repeatable=True)
        return int(answer["Attributes"][attribute])

    async def _move(self, message: Mapping[str, Any], url: str, to: str) -> None:
        await self._caller.call("SendMessage", {"QueueUrl": to, "MessageBody": message["Body"]}, repeatable=True)
        request = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
        await self._caller.call("DeleteMessage", request, repeatable=True)

    async def _show_again(self, url: str, messages: Sequence[Mapping[str, Any]]) -> None:
        for at in range(0, len(messages), _BATCH):
            entries = [
                {"Id": str(place), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
                for place, message in enumerate(messages[at : at + _BATCH])
            ]
            request = {"QueueUrl": url, "Entries": entries}
            # One that fails is shown again after a minute by itself.
            await self._caller.call("ChangeMessageVisibilityBatch", request, repeatable=True)

    async def _source_of(self, url: str) -> str:
        """The queue whose redrive policy names a dead-letter queue."""
        for source in self._sources:
            request = {"QueueUrl": source, "AttributeNames": ["RedrivePolicy"]}
            answer = await self._caller.call("GetQueueAttributes", request, repeatable=True)
            policy = loads(answer.get("Attributes", {}).get("RedrivePolicy", "{}"))
            target = str(policy.get("deadLetterTargetArn", "")) if isinstance(policy, Mapping) else ""
            if target.rpartition(":")[2] == _name(url):
                return source
        return self._undelivered_to


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def _letter(url: str, message: Mapping[str, Any]) -> DeadLetter:
    attributes = message.get("Attributes", {})
    told = message.get("MessageAttributes", {})
    # EventBridge says why it could not deliver; for the others the log does.
    problem = ": ".join(told[name]["StringValue"] for name in ("ERROR_CODE", "ERROR_MESSAGE") if name in told)
    return DeadLetter(
        id=message["MessageId"],
        body=message["Body"],
        receive_count=int(attributes.get("ApproximateReceiveCount", 0)),
        problem=problem,
        dead_at=None,
        queue=_name(url),
        sent_at=_EPOCH + timedelta(milliseconds=int(attributes.get("SentTimestamp", 0))),
    )
