"""Drives runs: processes a batch of work messages concurrently, so that waits for user code overlap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from milepost_engine.adapters.aws.failure_destination import is_record, read_record
from milepost_engine.codec import loads
from milepost_engine.runs.reports import failure_body

from .batch import receives, work
from .metrics import logger
from .wiring import Deployment, deployment, traced

__all__ = ["handler"]


@traced
def handler(event: Mapping[str, Any], context: Any) -> PartialItemFailureResponse:
    """Called with a batch of the work queue. A run continues here while time is left, then through the queue."""
    here = deployment()
    deadline = here.deadline(context)

    async def drive(record: SQSRecord) -> None:
        body = _message(here, record.body)
        if body is not None:
            await here.engine.handle(body, deadline, redelivered=receives(record) > 1)

    return work(here, event, drive)


def _message(here: Deployment, body: str) -> str | None:
    """The engine's message, or None. Lambda's record of a failed invocation becomes a report."""
    record = loads(body) if '"requestPayload"' in body else None
    if not is_record(record):
        return body
    try:
        token, problem = read_record(cast("Mapping[str, Any]", record))
    except ValueError as error:
        logger.warning(
            "ignored a failure record of Lambda's that does not belong to a run", extra={"error": str(error)}
        )
        return None
    here.metrics.throttled(problem, token.fn)
    return failure_body(token, problem)
