"""Drives runs: a batch of work messages, their waiting for user code overlapped."""

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
    """Called with a batch of the work queue. While time is left a run goes on here, else its baton goes back."""
    here = deployment()
    deadline = here.deadline(context)

    async def drive(record: SQSRecord) -> None:
        body = _message(here, record.body)
        if body is not None:
            await here.engine.handle(body, deadline, redelivered=receives(record) > 1)

    return work(here, event, drive)


def _message(here: Deployment, body: str) -> str | None:
    """The engine's message; None for what is nothing to it. What Lambda tells of a failure becomes a report."""
    told = loads(body) if '"requestPayload"' in body else None
    if not is_record(told):
        return body
    try:
        token, problem = read_record(cast("Mapping[str, Any]", told))
    except ValueError as error:
        logger.warning("a record of Lambda's was passed over", extra={"error": str(error)})
        return None
    here.metrics.throttled(problem, token.fn)
    return failure_body(token, problem)
