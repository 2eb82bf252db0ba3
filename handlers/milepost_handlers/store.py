"""The stores that an app may access, on the engine's adapters: a run's steps, its events and its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from milepost_engine.adapters.aws.calls import AwsRetries
from milepost_engine.adapters.aws.client import AwsHttp
from milepost_engine.adapters.aws.credentials import find_credentials
from milepost_engine.adapters.aws.dynamodb import DynamoTable
from milepost_engine.adapters.aws.s3 import S3Blobs
from milepost_engine.adapters.aws.sqs import SqsQueue
from milepost_engine.adapters.clock import SystemClock
from milepost_engine.adapters.random_source import SystemRandom
from milepost_engine.codec import loads
from milepost_engine.observe import Silent
from milepost_engine.ports import Blobs, Clock, Queue, RandomSource
from milepost_engine.runs.checkpoints import CheckpointWriter, open_session
from milepost_engine.runs.requests import memo_json
from milepost_engine.store.events import EventStore
from milepost_engine.store.runs import RunStore
from milepost_engine.store.values import Values

from .lazy_s3 import LazyS3

__all__ = ["RunStores", "open_stores"]


@dataclass(frozen=True, slots=True)
class RunStores:
    """The stores of runs and events; `queue` receives the reports of asynchronous invocations."""

    runs: RunStore
    events: EventStore
    values: Values
    blobs: Blobs
    queue: Queue | None
    clock: Clock
    random_source: RandomSource

    def checkpointer(self, run_id: str, function_id: str, claim: str) -> CheckpointWriter:
        """Saves the steps of an invocation that has just started, under a claim on its run."""
        started_at = self.clock.now()
        runs, clock = self.runs, self.clock
        return CheckpointWriter(
            lambda: open_session(run_id, function_id, claim, started_at, runs=runs, clock=clock, observer=Silent())
        )

    async def state(self, run_id: str, function_id: str) -> tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]:
        """The events and finished steps of a run. Raises LookupError when they no longer exist."""
        run = await self.runs.load(run_id, function_id)
        if run is None:
            raise LookupError(f"run {run_id} no longer exists: it expired or was erased")
        events = [await self.events.load(event_id) for event_id in run.event_ids]
        steps = loads(await memo_json(run, run.order, self.values))
        return [event.wire() for event in events if event is not None], cast("Mapping[str, Any]", steps)


def open_stores(environment: Mapping[str, str]) -> RunStores:
    """The stores named by the environment. Makes no calls."""
    clock, random_source = SystemClock(), SystemRandom()
    retries = AwsRetries(clock, random_source)
    region = environment.get("AWS_REGION") or "us-east-1"
    aws = AwsHttp(find_credentials(environment), region, retries=retries, environment=environment)
    table = DynamoTable(aws.service("dynamodb"), environment["MILEPOST_TABLE"], clock=clock)
    blobs = S3Blobs(LazyS3(), environment["MILEPOST_BUCKET"])
    values = Values(blobs)
    retention = timedelta(days=float(environment.get("MILEPOST_RETENTION_DAYS", "30")))
    url = environment.get("MILEPOST_QUEUE_URL")
    queue = SqsQueue(aws.service("sqs"), url, retries=retries) if url else None
    return RunStores(
        RunStore(table, values, retention),
        EventStore(table, values, retention),
        values,
        blobs,
        queue,
        clock,
        random_source,
    )
