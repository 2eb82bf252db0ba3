"""Drives runs: a batch of work messages, their waiting for user code overlapped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from .batch import receives, work
from .wiring import place, traced

__all__ = ["handler"]


@traced
def handler(event: Mapping[str, Any], context: Any) -> PartialItemFailureResponse:
    """Called with a batch of the work queue. While time is left a run goes on here, else its baton goes back."""
    here = place()
    deadline = here.deadline(context)

    async def drive(record: SQSRecord) -> None:
        await here.engine.handle(record.body, deadline, redelivered=receives(record) > 1)

    return work(here, event, drive)
