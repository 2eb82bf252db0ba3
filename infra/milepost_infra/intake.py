"""Intake: reads events from the event queue, stores them, starts runs and ends waits."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_lambda_event_sources as sources
from constructs import Construct

from .blobs import BlobBucket
from .compute import EngineCode, EngineLambda
from .names import Handler
from .queues import QueuePair
from .table import RunTable

__all__ = ["TIMEOUT", "Intake"]

TIMEOUT = Duration.seconds(60)
_BATCH = 10


class Intake(Construct):
    """The intake Lambda on the event queue."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        shared: EngineCode,
        table: RunTable,
        blobs: BlobBucket,
        events: QueuePair,
        work: QueuePair,
        max_concurrency: int,
    ) -> None:
        super().__init__(scope, construct_id)
        self.engine = EngineLambda(
            self, "Lambda", shared=shared, handler=Handler.INTAKE, timeout=TIMEOUT,
            purpose="Milepost intake: processes events, starts runs, ends waits",
        )  # fmt: skip
        self.engine.function.add_event_source(
            sources.SqsEventSource(
                events.queue, batch_size=_BATCH, max_concurrency=max_concurrency, report_batch_item_failures=True
            )
        )
        table.grant_use(self.engine.role)
        blobs.grant_use(self.engine.role)
        work.queue.grant_send_messages(self.engine.role)
