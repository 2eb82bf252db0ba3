"""Works a batch of queue messages off, all at once; what fails comes again by itself, after a pause that grows.

    receive 1   fails ── hidden for 5 s ──► receive 2 fails ── hidden for 10 s ──► … ──► dead letters after the tenth
Without that pause a message would come again only after the queue's visibility time-out, which covers a crash of the
Lambda and is six times its life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

from aws_lambda_powertools.utilities.batch import AsyncBatchProcessor, EventType
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from milepost_engine.adapters.aws.calls import AwsRefused, AwsUnreachable

from .metrics import logger
from .wiring import Deployment

__all__ = ["PoisonMessage", "receives", "work"]

_FIRST_PAUSE_SECONDS: Final = 5
_LONGEST_PAUSE_SECONDS: Final = 900
_POISON_PAUSE_SECONDS: Final = 1


class PoisonMessage(Exception):
    """A message that no retry will mend: it goes to the dead letters as fast as the queue allows."""


def receives(record: SQSRecord) -> int:
    """How often the message was handed out, this time included."""
    return int(record.attributes.approximate_receive_count or 1)


def work(
    place: Deployment,
    event: Mapping[str, Any],
    handle: Callable[[SQSRecord], Awaitable[object]],
    *,
    together: bool = False,
) -> PartialItemFailureResponse:
    """Handle every message; the answer names those that failed. `together`: what they send is sent together."""
    return place.run(_work(place, event, handle, together=together))


async def _work(
    place: Deployment, event: Mapping[str, Any], handle: Callable[[SQSRecord], Awaitable[object]], *, together: bool
) -> PartialItemFailureResponse:
    async def one(record: SQSRecord) -> None:
        try:
            await place.ready()
            await handle(record)
        finally:
            if together:
                await place.outbox.leave()

    if together:
        place.outbox.join(len(event["Records"]))
    batch = _Batch(EventType.SQS, raise_on_entire_batch_failure=False)
    answer = await batch.process_at_once(list(event["Records"]), one)
    failed = zip(cast("list[SQSRecord]", batch.fail_messages), batch.exceptions, strict=True)
    await asyncio.gather(*(_failed(place, record, error[1]) for record, error in failed))
    return answer


class _Batch(AsyncBatchProcessor):
    """Powertools' processor on the loop that is running already, for connections belong to it."""

    async def process_at_once(
        self, records: list[dict[str, Any]], handle: Callable[..., Awaitable[object]]
    ) -> PartialItemFailureResponse:
        with self(records, handle):
            await asyncio.gather(*map(self._async_process_record, records))
        return self.response()


async def _failed(place: Deployment, record: SQSRecord, error: BaseException | None) -> None:
    """Say why, and let the message come again sooner than its visibility time-out would."""
    number = receives(record)
    logger.error(
        "message failed",
        exc_info=error,
        extra={"message_id": record.message_id, "receive_count": number, "error": str(error)},
    )
    pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** (number - 1))
    request = {
        "QueueUrl": place.queue_address(record.event_source_arn),
        "ReceiptHandle": record.receipt_handle,
        "VisibilityTimeout": _POISON_PAUSE_SECONDS if isinstance(error, PoisonMessage) else pause,
    }
    try:
        await place.sqs.call("ChangeMessageVisibility", request, repeatable=True)
    except (AwsRefused, AwsUnreachable) as refusal:
        logger.warning("the message's pause could not be set; it comes again after the queue's own", exc_info=refusal)
