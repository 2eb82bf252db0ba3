"""Three-step runs through the engine as Lambda runs it, under load: batches of ten, each role with its own memory."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from botocore.credentials import Credentials

from milepost import App, Context, Event
from milepost.protocol import Request, Response
from milepost_engine.adapters.aws.batching import GatheringQueue
from milepost_engine.adapters.aws.calls import AwsRetries, Caller
from milepost_engine.adapters.aws.client import AwsHttp
from milepost_engine.adapters.aws.dynamodb import DynamoTable
from milepost_engine.adapters.aws.dynamodb_schema import table_definition
from milepost_engine.adapters.clock import SystemClock
from milepost_engine.adapters.local.invoke_inprocess import InProcessInvoker
from milepost_engine.adapters.random_source import SystemRandom
from milepost_engine.core.ids import to_ms, ulid
from milepost_engine.engine import Engine, EngineSettings
from milepost_engine.ports import Queue, Target
from milepost_engine.store.events import Event as Received
from milepost_handlers.metrics import Metrics

from .meter import Bill, MeteredCaller, MeteredQueue, metered_logs, stored_bytes

__all__ = ["BATCH", "Load", "load", "three_steps"]

BATCH = 10


def three_steps(result_bytes: int) -> App:
    """The same three steps in both modes; each returns so many bytes that do not compress to nothing."""
    app = App("cost")
    text = _noise(result_bytes)

    def result() -> str:
        return text

    @app.function(id="step", trigger=Event("step"))
    async def step(ctx: Context) -> str:
        for name in ("one", "two", "three"):
            await ctx.step.run(name, result)
        return "done"

    @app.function(id="checkpoint", trigger=Event("checkpoint"), mode="checkpoint")
    async def checkpoint(ctx: Context) -> str:
        for name in ("one", "two", "three"):
            await ctx.step.run(name, result)
        return "done"

    return app


def _noise(size: int) -> str:
    """The same each time, so that the counts are."""
    return random.Random(1).randbytes(size // 2).hex()


class NoBlobs:
    """Implements Blobs for values that never reach one."""

    async def put(self, key: str, content: bytes) -> None:
        raise AssertionError(f"{key} of {len(content)} bytes should lie in the table")

    async def get(self, key: str) -> bytes | None:
        raise AssertionError(key)

    async def delete_prefix(self, prefix: str) -> int:
        raise AssertionError(prefix)


class Apps:
    """The user's Lambdas: counts how often they are invoked."""

    def __init__(self, app: App, bill: Bill) -> None:
        self.invoker = InProcessInvoker({app.id: app})
        self._bill = bill

    async def invoke(self, target: Target, request: Request) -> Response:
        self._bill.add("user invocations")
        return await self.invoker.invoke(target, request)


@dataclass
class Load:
    """The intake's and the orchestrator's engines; `work` is the queue between them.

    `spent` are seconds of CPU: of the orchestrator's thread, and of the threads on which steps run.
    """

    bill: Bill
    intake: Engine
    outbox: GatheringQueue
    orchestrator: Engine
    work: MeteredQueue
    event_bytes: int
    metrics: Metrics
    dynamodb: Caller
    table: str
    spent: Counter[str] = field(default_factory=Counter)

    async def run(self, name: str, runs: int) -> None:
        """So many events to the ends of their runs, each role in batches of ten."""
        before = await stored_bytes(self.dynamodb, self.table)
        with metered_logs(self.bill):
            await self._run(name, runs)
        self.bill.add("stored bytes", await stored_bytes(self.dynamodb, self.table) - before)

    async def _run(self, name: str, runs: int) -> None:
        for at in range(0, runs, BATCH):
            size = min(BATCH, runs - at)
            # EventBridge hands each event to the intake's queue by itself; Lambda receives and deletes ten at once.
            self.bill.add("events", size)
            self.bill.add("sqs requests", size + 2)
            self.bill.add("intake invocations")
            self.outbox.join(size)
            await asyncio.gather(*(self._take(name) for _ in range(size)))
            self.metrics.flush()
        own, whole = time.thread_time(), time.process_time()
        while batch := self.work.receive():
            self.bill.add("orchestrator invocations")
            await asyncio.gather(*(self.orchestrator.handle(body) for body in batch))
            self.metrics.flush()
        own, whole = time.thread_time() - own, time.process_time() - whole
        self.spent.update({"orchestrator": own, "steps": whole - own})

    async def _take(self, name: str) -> None:
        try:
            await self.intake.intake.take(self._event(name))
        finally:
            await self.outbox.leave()

    def _event(self, name: str) -> Received:
        now = self.intake.clock.now()
        event_id = ulid(to_ms(now), self.intake.random_source.random_bytes(10))
        data = {"text": _noise(self.event_bytes)}
        return Received(event_id, event_id, name, data, to_ms(now), now, {})


@asynccontextmanager
async def load(endpoint: str, *, result_bytes: int, event_bytes: int, table: str = "cost") -> AsyncIterator[Load]:
    """Everything over a DynamoDB Local; warm, so that what is done once in a process's life is not counted."""
    clock, random_source = SystemClock(), SystemRandom()
    http = AwsHttp(
        Credentials("test", "test"), "us-east-1", retries=AwsRetries(clock, random_source),
        environment={"AWS_ENDPOINT_URL": endpoint},
    )  # fmt: skip
    dynamodb = http.service("dynamodb")
    await dynamodb.call("CreateTable", table_definition(table), repeatable=False)
    bill = Bill()
    work = MeteredQueue(bill)
    app = three_steps(result_bytes)
    apps = Apps(app, bill)

    metrics = Metrics("milepost")

    def engine(queue: Queue) -> Engine:
        return Engine.build(
            table=DynamoTable(MeteredCaller(dynamodb, bill), table, clock),
            blobs=NoBlobs(),
            queue=queue,
            invokers={"inprocess": apps},
            clock=clock,
            random_source=random_source,
            observer=metrics,
            # Each process looks at the registry every five seconds, whatever the load: not the run's to pay.
            settings=EngineSettings(registry_max_age=timedelta(hours=1)),
        )

    outbox = GatheringQueue(work)
    made = Load(bill, engine(outbox), outbox, engine(work), work, event_bytes, metrics, dynamodb, table)
    apps.invoker.checkpointer = engine(work).checkpointer  # the user's Lambda reaches the table itself
    await made.intake.registry.sync(app.manifest("http://local/cost"), Target("inprocess", app.id))
    for name in ("step", "checkpoint"):
        await made.run(name, BATCH)
    bill.count.clear()
    try:
        yield made
    finally:
        await dynamodb.call("DeleteTable", {"TableName": table}, repeatable=False)
        await http.close()
