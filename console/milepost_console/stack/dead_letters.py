"""Lists and redrives the dead letters of a stack through SQS.

Reading an SQS message means receiving it, which hides it for a while and raises its receive count; it is made visible
again at once. Redriving is send, then delete: an interruption between the two leaves the message in both queues, and
the engine deduplicates it.

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
"""Long enough to read a queue's messages, short enough that an interruption does no harm."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class SqsDeadLetters:
    """Implements the server's `DeadLetters`.

    Args:
        caller: SQS.
        dead: URLs of the dead-letter queues.
        sources: URLs of the queues they belong to; their redrive policies say which belongs to which.
        undelivered_to: Where messages of a dead-letter queue without a source go (that of EventBridge's rules).
    """

    def __init__(self, caller: Caller, dead: Sequence[str], sources: Sequence[str], undelivered_to: str) -> None:
        self._caller = caller
        self._dead = tuple(dead)
        self._sources = tuple(sources)
        self._undelivered_to = undelivered_to

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """Up to `limit` dead letters, latest first. SQS does not record when or why; EventBridge records why."""
        found: list[DeadLetter] = []
        for url in self._dead:
            messages = [message async for message in self._messages(url, limit)]
            found += [_letter(url, message) for message in messages]
            await self._show_again(url, messages)
        return sorted(found, key=lambda letter: letter.sent_at or _EPOCH, reverse=True)[:limit]

    async def redrive(self, ids: Sequence[int | str] | None = None) -> int:
        """Deliver messages again, with a new receive count: those given, or all. Returns how many."""
        wanted = None if ids is None else {str(id_) for id_ in ids}
        moved = 0
        for url in self._dead:
            to = await self._source_of(url)
            skipped: list[Mapping[str, Any]] = []
            async for message in self._messages(url, None):
                if wanted is None or message["MessageId"] in wanted:
                    await self._move(message, url, to)
                    moved += 1
                else:
                    skipped.append(message)
            await self._show_again(url, skipped)
        return moved

    async def _messages(self, url: str, limit: int | None) -> AsyncIterator[Mapping[str, Any]]:
        """Each message once: about as many as SQS counts."""
        counted = await self._count(url)
        seen: set[str] = set()
        while len(seen) < counted and (limit is None or len(seen) < limit):
            request = {
                "QueueUrl": url,
                "MaxNumberOfMessages": _BATCH,
                "VisibilityTimeout": _HIDDEN_SECONDS,
                # Long polling queries all SQS servers, not just some.
                "WaitTimeSeconds": 1,
                "MessageSystemAttributeNames": ["All"],
                "MessageAttributeNames": ["All"],
            }
            answer = await self._caller.call("ReceiveMessage", request, repeatable=True)
            # In a long queue the first messages reappear before the last is reached; stop then.
            fresh = [message for message in answer.get("Messages", ()) if message["MessageId"] not in seen]
            if not fresh:
                return
            for message in fresh:
                seen.add(message["MessageId"])
                yield message

    async def _count(self, url: str) -> int:
        """The number of messages according to SQS, which lags by up to a minute."""
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
                {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
                for index, message in enumerate(messages[at : at + _BATCH])
            ]
            request = {"QueueUrl": url, "Entries": entries}
            # A message for which this fails reappears after a minute.
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
    given = message.get("MessageAttributes", {})
    # EventBridge attaches the reason; for other queues it is in the log.
    problem = ": ".join(given[name]["StringValue"] for name in ("ERROR_CODE", "ERROR_MESSAGE") if name in given)
    return DeadLetter(
        id=message["MessageId"],
        body=message["Body"],
        receive_count=int(attributes.get("ApproximateReceiveCount", 0)),
        problem=problem,
        dead_at=None,
        queue=_name(url),
        sent_at=_EPOCH + timedelta(milliseconds=int(attributes.get("SentTimestamp", 0))),
    )
