"""Several workers over one table and one queue, on a wound clock, while everything that may go wrong does.

Messages come in any order, twice at once, and again much later; workers die in the middle; calls fail before and
after they take effect. Only what AWS promises is kept: an accepted message comes again until it was finished with,
and a write is there or it is not.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from milepost import App
from milepost.protocol import Request, Response
from milepost_engine.adapters.aws.calls import AwsRetries
from milepost_engine.adapters.aws.client import AwsHttp
from milepost_engine.adapters.aws.dynamodb import DynamoTable
from milepost_engine.adapters.aws.s3 import S3Blobs
from milepost_engine.adapters.aws.sqs import SqsQueue
from milepost_engine.adapters.clock import WoundClock
from milepost_engine.adapters.local.invoke_inprocess import InProcessInvoker
from milepost_engine.adapters.local.sqlite import SqliteStore
from milepost_engine.adapters.random_source import SeededRandom
from milepost_engine.engine import Engine, EngineSettings
from milepost_engine.operations.queries import RunFilter
from milepost_engine.ports import Blobs, InvocationProblem, Message, ProblemKind, Queue, Table, Target
from tests.cloud.faults import FaultyCaller, FaultyPort, FaultyTransport, Storm
from tests.cloud.inline_s3 import InlineS3
from tests.cloud.moto_transport import MotoTransport
from tests.cloud.place import CREDENTIALS, REGION, fresh_name, open_table
from tests.cloud.wound_queue import Delivery, WoundQueue
from tests.scenarios.rig import START, TICK

from .later import Later
from .ledger import LAST_READS, Ledger, Recorder, Watch, Witness

__all__ = ["Worker", "World", "world"]

VISIBILITY = timedelta(seconds=30)
WORKERS = 3


@dataclass
class Ports:
    """What one worker has of the world; `clean` is the table without faults, for looking at the end."""

    table: Table
    blobs: Blobs
    queue: Queue


@dataclass
class Worker:
    engine: Engine
    tasks: dict[asyncio.Task[None], Delivery | None] = field(default_factory=dict)


class Served:
    """User code, with an invoker that may be throttled before it and lose the answer after it."""

    def __init__(self, app: App, storm: Storm) -> None:
        self.invoker = InProcessInvoker({app.id: app})
        self._storm = storm

    async def invoke(self, target: Target, request: Request) -> Response:
        await self._storm.mix()
        fault = self._storm.fault()
        if fault in {"refused", "unsent"}:
            raise InvocationProblem(ProblemKind.THROTTLED, "rate exceeded")
        response = await self.invoker.invoke(target, request)
        await self._storm.mix()
        if fault in {"lost", "broken"}:
            raise InvocationProblem(ProblemKind.UNREACHABLE, "the answer got lost")
        return response


class Impatient(WoundClock):
    """Pauses of a caller's retries take no time: they are not what is tried here."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@dataclass
class World:
    """See the module. `open_ports` gives a new worker its own view of what all share."""

    clock: WoundClock
    queue: WoundQueue
    storm: Storm
    ledger: Ledger
    make_app: Callable[[Ledger], App]
    open_ports: Callable[[Storm], Ports]
    reports: bool = False
    later: Later = field(init=False)
    workers: list[Worker] = field(default_factory=list)
    deaths: int = 0

    def __post_init__(self) -> None:
        self.later = Later(self)

    async def start(self) -> None:
        for _ in range(WORKERS):
            self.workers.append(await self._worker())

    async def _worker(self) -> Worker:
        quiet = Storm(random.Random(1), share=0.0)
        app = self.make_app(self.ledger)
        engine = self._engine(quiet, app)
        # A run is pinned to its Lambda, and with it to whether that reports.
        target = Target("lambda", app.id, 60.0, reports=True) if self.reports else Target("inprocess", app.id)
        await engine.registry.sync(app.manifest("http://local/a"), target)
        return Worker(self._engine(self.storm, app))

    def _engine(self, storm: Storm, app: App) -> Engine:
        ports = self.open_ports(storm)
        witness = Witness(ports.table, self.ledger)
        served = Served(app, storm)
        engine = Engine.build(
            table=witness,
            blobs=ports.blobs,
            queue=ports.queue,
            invokers={"inprocess": served, "lambda": served},
            handovers={"lambda": self.later},
            clock=self.clock,
            random_source=SeededRandom(self.storm.draw.randrange(2**32)),
            observer=Watch(),
            settings=EngineSettings(inline_bytes=64),
        )
        served.invoker.checkpointer = engine.checkpointer
        return engine

    @property
    def quiet(self) -> Engine:
        """An engine on a good day, for looking."""
        return self._engine(Storm(random.Random(1), share=0.0), self.make_app(self.ledger))

    async def accept(self, name: str, data: dict[str, object], seed: bytes) -> str:
        """Send an event until it is accepted, as any sender must, under one id."""
        while True:
            with suppress(Exception):
                body = {"name": name, "data": data}
                read = await self._any().engine.accept(body, seed=(1_800_000_000_000, seed))
                return read.events[0].event_id

    @property
    def impatient(self) -> Impatient:
        return Impatient(self.clock.now())

    def _any(self) -> Worker:
        return self.storm.draw.choice(self.workers)

    # --- time ---------------------------------------------------------------------------------------------------

    async def live(self, span: timedelta) -> None:
        """Let time pass: deliver what is due, tick each minute, and let things go wrong."""
        end, next_tick = self.clock.now() + span, self.clock.now()
        while True:
            if batch := self.queue.receive(self.storm.draw.randint(1, 10)):
                self.storm.draw.shuffle(batch)
                for delivery in batch:
                    self._deliver(delivery)
            elif self.later.begin():
                pass
            elif not self._under_way():
                dues = [next_tick, self.queue.next_due(), self.later.queue.next_due()]
                moment = min(due for due in dues if due)
                if moment > end:
                    await self.clock.advance_to(end)
                    return
                await self.clock.advance_to(moment)
                if moment >= next_tick:
                    # The rule that ticks is late, too, now and then.
                    next_tick += TICK * self.storm.draw.choice((1, 3))
                    self._begin(self._any(), None)
                continue
            await self._go_on()

    async def _go_on(self) -> None:
        running = self._under_way()
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for worker in self.workers:
            for task in [task for task in worker.tasks if task.done()]:
                self._ended(task, worker.tasks.pop(task))
        self.later.check()
        if self.storm.draw.random() < self.storm.share / 20:
            await self._die()

    def _under_way(self) -> list[asyncio.Task[None]]:
        return [*(task for worker in self.workers for task in worker.tasks), *self.later.tasks]

    def _deliver(self, delivery: Delivery) -> None:
        self._begin(self._any(), delivery)
        dice = self.storm.draw.random()
        if dice < self.storm.share:
            # Twice at once: to somebody else, or since its visibility timeout ran out while it was under way.
            count = self.storm.draw.choice((1, delivery.receive_count + 1))
            self._begin(self._any(), Delivery(delivery.body, count, ghost=True))
        elif dice < 1.5 * self.storm.share:
            self.queue.take(delivery.body, self.storm.draw.uniform(0, 900), ghost=True)

    def _begin(self, worker: Worker, delivery: Delivery | None) -> None:
        worker.tasks[asyncio.ensure_future(_work(worker.engine, delivery))] = delivery

    def _ended(self, task: asyncio.Task[None], delivery: Delivery | None) -> None:
        problem = None if task.cancelled() else task.exception()
        if problem is not None and not isinstance(problem, Exception):
            raise problem
        if delivery is not None and (task.cancelled() or problem is not None):
            self.queue.come_again(delivery, problem or asyncio.CancelledError())

    async def _die(self) -> None:
        """A worker is gone, with all that it had in memory; its messages come again."""
        self.deaths += 1
        place = self.storm.draw.randrange(len(self.workers))
        gone, self.workers[place] = self.workers[place], await self._worker()
        for task in gone.tasks:
            task.cancel()
        await asyncio.gather(*gone.tasks, return_exceptions=True)
        for task, delivery in gone.tasks.items():
            self._ended(task, delivery)

    async def runs(self) -> list[dict[str, Any]]:
        queries = self.quiet.queries
        rows: Any = (await queries.list_runs(RunFilter(), limit=500))["runs"]
        found = [await queries.run(row["run_id"]) for row in rows]
        return [run for run in found if run is not None]


async def _work(engine: Engine, delivery: Delivery | None) -> None:
    """Handle a message, or tick."""
    LAST_READS.set({})
    if delivery is None:
        await engine.timers.tick()
    else:
        await engine.handle(delivery.body, redelivered=delivery.receive_count > 1)


@asynccontextmanager
async def world(
    seed: int, make_app: Callable[[Ledger], App], *, share: float, seam: str, reports: bool = False
) -> AsyncIterator[World]:
    """`seam`: the faults strike at `http`, in front of moto, or at the engine's `ports`, over SQLite.

    With `reports` nobody waits for user code: it reports back itself.
    """
    clock, storm, ledger = WoundClock(START), Storm(random.Random(seed), share), Ledger()
    queue = WoundQueue(clock, visibility=VISIBILITY, max_receives=1000)
    async with (_over_moto if seam == "http" else _over_sqlite)(clock, queue, ledger) as open_ports:
        made = World(clock, queue, storm, ledger, make_app, open_ports, reports)
        await made.start()
        yield made


@asynccontextmanager
async def _over_sqlite(clock: WoundClock, queue: WoundQueue, ledger: Ledger) -> AsyncIterator[Callable[[Storm], Ports]]:
    store = SqliteStore.open(":memory:", clock=clock)
    shared = (Recorder(store.table, ledger), store.blobs, _Sender(queue))
    try:
        yield lambda storm: Ports(*(FaultyPort(port, storm) for port in shared))
    finally:
        store.close()


@dataclass
class _Sender:
    queue: WoundQueue

    async def send(self, messages: list[Message]) -> None:
        for message in messages:
            self.queue.take(message.body, message.delay_seconds)


@asynccontextmanager
async def _over_moto(clock: WoundClock, queue: WoundQueue, ledger: Ledger) -> AsyncIterator[Callable[[Storm], Ports]]:
    name = fresh_name()
    moto, s3 = MotoTransport(), InlineS3(name)
    moto.sent = lambda _url, entry: queue.take(entry["MessageBody"], entry.get("DelaySeconds", 0))
    moto.put = lambda item: ledger.put(item["pk"]["S"], item["sk"]["S"], item.get("name", {}).get("S", ""))
    retries = AwsRetries(Impatient(), SeededRandom(1), attempts=2)
    plain = AwsHttp(CREDENTIALS, REGION, retries=retries, transport=moto)
    await open_table(plain.service("dynamodb"), name)
    made = await plain.service("sqs").call("CreateQueue", {"QueueName": name}, repeatable=False)

    def open_ports(storm: Storm) -> Ports:
        http = AwsHttp(CREDENTIALS, REGION, retries=retries, transport=FaultyTransport(moto, storm))
        return Ports(
            DynamoTable(http.service("dynamodb"), name, clock, retries=retries),
            S3Blobs(FaultyCaller(s3, storm), name),
            SqsQueue(http.service("sqs"), made["QueueUrl"], retries=retries),
        )

    try:
        yield open_ports
    finally:
        await plain.service("dynamodb").call("DeleteTable", {"TableName": name}, repeatable=False)
        await plain.service("sqs").call("DeleteQueue", {"QueueUrl": made["QueueUrl"]}, repeatable=False)
        s3.close()
