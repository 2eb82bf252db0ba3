"""Processes events: a batch of EventBridge envelopes starts runs and ends waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from milepost_engine.codec import loads
from milepost_engine.intake.envelopes import read_envelope
from milepost_engine.store.events import Event, EventProblem

from .batch import PoisonMessage, receives, work
from .metrics import MetricName
from .wiring import Deployment, deployment, traced

__all__ = ["handler"]


@traced
def handler(event: Mapping[str, Any], context: Any) -> PartialItemFailureResponse:  # noqa: ARG001 - Lambda's shape
    """Called with a batch of the event queue. A message that is not a valid event becomes a dead letter."""
    here = deployment()

    async def take(record: SQSRecord) -> None:
        await here.engine.intake.take(_read(here, record), redelivered=receives(record) > 1)

    return work(here, event, take, together=True)


def _read(here: Deployment, record: SQSRecord) -> Event:
    try:
        envelope = loads(record.body)
    except ValueError as error:
        problem: Exception = EventProblem(f"the message is not JSON: {error}")
    else:
        try:
            return read_envelope(envelope, now=here.clock.now(), random_source=here.engine.random_source)
        except EventProblem as error:
            problem = error
    if receives(record) == 1:
        here.metrics.count(MetricName.EVENTS_REFUSED)
    raise PoisonMessage(
        f"[MP501] An event cannot be processed: {problem}. Nothing was started; the message becomes a dead letter of "
        "the event queue. Fix the sender, then send the event again."
    )
