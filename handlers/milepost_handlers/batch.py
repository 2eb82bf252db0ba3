"""Processes a batch of queue messages concurrently; failed ones are redelivered after a growing pause.

    receive 1   fails ── hidden for 5 s ──► receive 2   fails ── hidden for 10 s ──► … ──► receive 10: dead letter
Without these pauses a message would be redelivered only after the queue's visibility timeout, which covers a crash of
the Lambda and is six times its timeout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

from aws_lambda_powertools.utilities.batch import AsyncBatchProcessor, EventType
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from milepost_engine.adapters.aws.calls import AwsRefused, AwsUnreachable

from .metrics import MetricName, logger
from .wiring import Deployment

__all__ = ["DELIVERIES", "PoisonMessage", "receives", "work"]

DELIVERIES: Final = 10
"""How often a message is delivered before it becomes a dead letter; `milepost_infra.queues` says the same."""

_FIRST_PAUSE_SECONDS: Final = 5
_LONGEST_PAUSE_SECONDS: Final = 900
_POISON_PAUSE_SECONDS: Final = 1


class PoisonMessage(Exception):
    """A message that no retry can fix: it becomes a dead letter as fast as the queue allows."""


def receives(record: SQSRecord) -> int:
    """How often the message was delivered, including this time."""
    return int(record.attributes.approximate_receive_count or 1)


def work(
    here: Deployment,
    event: Mapping[str, Any],
    handle: Callable[[SQSRecord], Awaitable[object]],
    *,
    together: bool = False,
) -> PartialItemFailureResponse:
    """Handle every message; the answer lists those that failed. `together` batches the messages they send."""
    return here.run(_work(here, event, handle, together=together))


async def _work(
    here: Deployment, event: Mapping[str, Any], handle: Callable[[SQSRecord], Awaitable[object]], *, together: bool
) -> PartialItemFailureResponse:
    async def one(record: SQSRecord) -> None:
        try:
            await here.ready()
            await handle(record)
        finally:
            if together:
                await here.outbox.leave()

    if together:
        here.outbox.join(len(event["Records"]))
    batch = _Batch(EventType.SQS, raise_on_entire_batch_failure=False)
    answer = await batch.process_at_once(list(event["Records"]), one)
    failed = zip(cast("list[SQSRecord]", batch.fail_messages), batch.exceptions, strict=True)
    await asyncio.gather(*(_failed(here, record, error[1]) for record, error in failed))
    return answer


class _Batch(AsyncBatchProcessor):
    """Powertools' processor on the running loop, because connections belong to that loop."""

    async def process_at_once(
        self, records: list[dict[str, Any]], handle: Callable[..., Awaitable[object]]
    ) -> PartialItemFailureResponse:
        with self(records, handle):
            await asyncio.gather(*map(self._async_process_record, records))
        return self.response()


async def _failed(here: Deployment, record: SQSRecord, error: BaseException | None) -> None:
    """Log the error, and have the message redelivered before its visibility timeout ends."""
    number = receives(record)
    logger.error(
        "message failed",
        exc_info=error,
        extra={"message_id": record.message_id, "receive_count": number, "error": str(error)},
    )
    if isinstance(error, PoisonMessage):
        pause = _POISON_PAUSE_SECONDS
    else:
        here.metrics.count(MetricName.MESSAGES_FAILED)
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** (number - 1)) if number < DELIVERIES else 0
    request = {
        "QueueUrl": here.queue_address(record.event_source_arn),
        "ReceiptHandle": record.receipt_handle,
        "VisibilityTimeout": pause,
    }
    try:
        await here.sqs.call("ChangeMessageVisibility", request, repeatable=True)
    except (AwsRefused, AwsUnreachable) as refusal:
        logger.warning(
            "could not shorten the pause of a failed message; it is redelivered after the visibility timeout",
            exc_info=refusal,
        )
