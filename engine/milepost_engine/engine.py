"""The engine put together from its ports, and the one entry point for queue messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from .codec import Json, loads
from .core.ids import short_hash
from .intake.event_queue import EventQueue
from .intake.intake import Intake
from .observe import Observer, Silent
from .operations.actions import Operations
from .operations.erasure import Erasure
from .operations.queries import Queries
from .operations.starts import Starts
from .ports import MAX_DELAY_SECONDS, Blobs, Clock, Handover, Invoker, Queue, RandomSource, Slots, Table, Unbounded
from .runs.acting import Acting
from .runs.cancelling import Cancelling
from .runs.checkpoints import CheckpointRefusal, CheckpointSession, CheckpointWriter, open_session
from .runs.endings import Endings
from .runs.invocations import Invocations
from .runs.message_inputs import MessageInputs
from .runs.orchestrator import Orchestrator
from .store.events import Event, EventStore, Read, read_events
from .store.messages import CronDue, EventsAccepted, MessageSender, MoveTimers, RunMessage, SweepRuns, parse
from .store.registry import Registry
from .store.run_items import DEFAULT_RETENTION
from .store.runs import RunStore
from .store.values import INLINE_BYTES, Values
from .store.wait_matching import WaitIndex
from .timers.timers import Timers

__all__ = ["Engine", "EngineSettings"]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What may differ between places. `longest_delay_seconds` is what the queue can hold."""

    longest_delay_seconds: float = MAX_DELAY_SECONDS
    registry_max_age: timedelta = timedelta(seconds=5)
    inline_bytes: int = INLINE_BYTES
    retention: timedelta = DEFAULT_RETENTION
    signing_key: str | None = None


@dataclass(frozen=True, slots=True)
class Engine:
    """Everything that adapters and people talk to."""

    registry: Registry
    events: EventStore
    runs: RunStore
    event_queue: EventQueue
    intake: Intake
    orchestrator: Orchestrator
    timers: Timers
    operations: Operations
    starts: Starts
    queries: Queries
    sender: MessageSender
    waits: WaitIndex
    values: Values
    clock: Clock
    random_source: RandomSource
    settings: EngineSettings

    @classmethod
    def build(
        cls,
        *,
        table: Table,
        blobs: Blobs,
        queue: Queue,
        invokers: Mapping[str, Invoker],
        clock: Clock,
        random_source: RandomSource,
        handovers: Mapping[str, Handover] | None = None,
        observer: Observer | None = None,
        slots: Slots | None = None,
        settings: EngineSettings | None = None,
    ) -> Engine:
        """Wire the parts; nothing is read or written yet. `handovers`: to apps that report back themselves, by kind."""
        settings = settings or EngineSettings()
        watcher = observer or Silent()
        values = Values(blobs, settings.inline_bytes)
        sender = MessageSender(queue, table, clock, random_source, longest_delay_seconds=settings.longest_delay_seconds)
        registry = Registry(table, values, clock, max_age=settings.registry_max_age)
        events = EventStore(table, values, settings.retention)
        runs = RunStore(table, values, settings.retention, registry)
        waits = WaitIndex(table, events, registry, clock)
        cancelling = Cancelling(runs, sender, clock, watcher)
        intake = Intake(table, events, runs, registry, waits, sender, cancelling, clock, watcher)
        endings = Endings(runs, events, registry, waits, values, sender, intake, cancelling, clock)
        invocations = Invocations(
            events, registry, values, invokers, handovers or {}, clock, random_source, settings.signing_key
        )
        orchestrator = Orchestrator(
            runs,
            events,
            MessageInputs(runs, events, blobs, sender, endings, clock, watcher),
            Acting(runs, events, waits, sender, endings, clock),
            invocations,
            clock,
            watcher,
            slots or Unbounded(),
        )
        timers = Timers.build(table, registry, sender, clock, random_source)
        queries = Queries(table, runs, events, registry, values, clock)
        erasure = Erasure(table, blobs, runs, events, queries, endings)
        operations = Operations(runs, events, registry, intake, cancelling, erasure, clock, random_source)
        starts = Starts(table, events, runs, registry, intake, clock)
        return cls(
            registry, events, runs, EventQueue(events, sender), intake, orchestrator, timers, operations, starts,
            queries, sender, waits, values, clock, random_source, settings,
        )  # fmt: skip

    async def accept(self, body: Json, *, seed: tuple[int, bytes] | None = None) -> Read:
        """Accept what was sent: from the moment this returns, the events before any problem are not lost."""
        read = read_events(body, now=self.clock.now(), random_source=self.random_source, seed=seed)
        await self.event_queue.send(read.events)
        return read

    async def handle(self, body: str, deadline: datetime | None = None, *, redelivered: bool = False) -> None:
        """Handle one queue message; if this raises, the message must be redelivered."""
        message = parse(loads(body))
        match message:
            case EventsAccepted():
                await self._take(await self.event_queue.read(message), redelivered=redelivered)
            case CronDue():
                await self.intake.cron(
                    message.function_id, message.line, message.at, message.fire_at, redelivered=redelivered
                )
            case MoveTimers() | SweepRuns():
                await self.timers.resume(message, deadline)
            case RunMessage():
                if not message.message_id:
                    message = replace(message, message_id=short_hash(body))
                await self.orchestrator.handle(message, deadline, redelivered=redelivered)

    async def _take(self, events: Sequence[Event], *, redelivered: bool) -> None:
        """Process each event, whatever happened to those before it; then raise the first error."""
        problems: list[Exception] = []
        for event in events:
            try:
                await self.intake.take(event, redelivered=redelivered)
            except Exception as problem:  # noqa: BLE001 - raised below
                problems.append(problem)
        if problems:
            raise problems[0]

    async def checkpoints(
        self, run_id: str, function_id: str, claim: str, started_at: datetime
    ) -> CheckpointSession | CheckpointRefusal:
        """A session that saves the steps of one checkpointing invocation, or why there is none."""
        observer = self.orchestrator.observer
        return await open_session(
            run_id, function_id, claim, started_at, runs=self.runs, clock=self.clock, observer=observer
        )

    def checkpointer(self, run_id: str, function_id: str, claim: str) -> CheckpointWriter:
        """Where an SDK in this process saves the steps of an invocation that begins now, under a claim on its run."""
        started_at = self.clock.now()
        return CheckpointWriter(lambda: self.checkpoints(run_id, function_id, claim, started_at))
