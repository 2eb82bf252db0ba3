"""A whole engine on a wound clock: real store, real queue, real SDK, user code in this process.

`PLACE` chooses where its data is stored, so every story runs everywhere (see conftest). Those that need no wound
clock run over a deployed stack too: `tests/emulator/test_scenarios.py` names them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from milepost import App
from milepost.protocol import Request, Response
from milepost_engine.adapters.clock import WoundClock
from milepost_engine.adapters.local.invoke_inprocess import InProcessInvoker
from milepost_engine.adapters.local.queue import LocalQueue, Received
from milepost_engine.adapters.local.sqlite import SqliteStore
from milepost_engine.adapters.random_source import SeededRandom
from milepost_engine.engine import Engine, EngineSettings
from milepost_engine.operations.queries import RunFilter
from milepost_engine.ports import Blobs, Queue, Table, Target
from tests.cloud.place import cloud_place
from tests.cloud.wound_queue import Delivery

PLACE: ContextVar[str | Callable[[], AbstractAsyncContextManager[Rig]]] = ContextVar("PLACE", default="sqlite")
"""`sqlite`, `moto`, or the endpoint of a DynamoDB that holds the table (moto has the rest); or what opens a rig."""

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TICK = timedelta(minutes=1)


@dataclass
class Served:
    """User code in this process; counts the calls by target."""

    apps: dict[str, App]
    calls: list[tuple[str, str]] = field(default_factory=list)
    invoker: InProcessInvoker = field(init=False)

    def __post_init__(self) -> None:
        self.invoker = InProcessInvoker(self.apps)

    async def invoke(self, target: Target, request: Request) -> Response:
        self.calls.append((request.query["fnId"], request.query["stepId"]))
        return await self.invoker.invoke(target, request)


class Store(Protocol):
    """What stories look into."""

    @property
    def table(self) -> Table: ...

    @property
    def blobs(self) -> Blobs: ...


class Consumer(Protocol):
    """The receiving side of the work queue."""

    async def drain(self, handler: Any) -> None: ...

    def next_due(self) -> datetime | None: ...


@dataclass
class Rig:
    engine: Engine
    queue: Consumer
    clock: WoundClock
    served: Served
    store: Store

    async def serve(self, app: App) -> None:
        self.served.apps[app.id] = app
        await self.engine.registry.sync(app.manifest("http://local/app"), Target("inprocess", app.id))

    async def send(self, name: str, data: Mapping[str, object] | None = None, **more: object) -> str:
        read = await self.engine.accept({"name": name, "data": data or {}, **more})
        assert not read.problem, read.problem
        await self.settle()
        return read.events[0].event_id

    async def settle(self) -> None:
        """Run everything that is due now."""
        await self.queue.drain(self._handle)

    async def _handle(self, received: Received | Delivery) -> None:
        await self.engine.handle(received.body, redelivered=received.receive_count > 1)

    async def wind(self, span: timedelta | float) -> None:
        """Let time pass, message by message; the timers tick each minute."""
        end = self.clock.now() + (span if isinstance(span, timedelta) else timedelta(seconds=span))
        next_tick = self.clock.now()
        while True:
            await self.settle()
            due = self.queue.next_due()
            moment = min(next_tick, due) if due else next_tick
            if moment > end:
                break
            if moment > self.clock.now():
                await self.clock.advance_to(moment)
            if moment >= next_tick:
                await self.engine.timers.tick()
                next_tick = self.clock.now() + TICK
        await self.clock.advance_to(end)
        await self.settle()

    def which(self, function_id: str | None) -> RunFilter:
        """The runs that a story looks at."""
        return RunFilter(functions=(function_id,) if function_id else ())

    async def run(self, run_id: str) -> dict[str, Any]:
        found = await self.engine.queries.run(run_id)
        assert found is not None, run_id
        return found

    async def runs(self, function_id: str | None = None) -> list[dict]:
        rows: Any = (await self.engine.queries.list_runs(self.which(function_id), limit=5000))["runs"]
        return [await self.run(row["run_id"]) for row in rows]

    async def only_run(self, function_id: str | None = None) -> dict:
        runs = await self.runs(function_id)
        assert len(runs) == 1, [(run["function_id"], run["status"]) for run in runs]
        return runs[0]


@asynccontextmanager
async def rig(
    *apps: App, start: datetime = START, longest_delay: float = 900, clock: WoundClock | None = None
) -> AsyncIterator[Rig]:
    chosen = PLACE.get()
    clock = clock or WoundClock(start)
    async with _wound(chosen, clock, longest_delay) if isinstance(chosen, str) else chosen() as made:
        for app in apps:
            await made.serve(app)
        yield made


@asynccontextmanager
async def _wound(chosen: str, clock: WoundClock, longest_delay: float) -> AsyncIterator[Rig]:
    async with _place(chosen, clock) as (store, sender, queue):
        served = Served({})
        engine = Engine.build(
            table=store.table,
            blobs=store.blobs,
            queue=sender,
            invokers={"inprocess": served},
            clock=clock,
            random_source=SeededRandom(7),
            settings=EngineSettings(longest_delay_seconds=longest_delay),
        )
        served.invoker.checkpointer = engine.checkpointer
        yield Rig(engine, queue, clock, served, store)


@asynccontextmanager
async def _place(chosen: str, clock: WoundClock) -> AsyncIterator[tuple[Store, Queue, Consumer]]:
    if chosen == "sqlite":
        store = SqliteStore.open(":memory:", clock=clock)
        queue = LocalQueue(store, clock, "work")
        try:
            yield store, queue, queue
        finally:
            store.close()
        return
    async with cloud_place(clock, dynamodb_endpoint=None if chosen == "moto" else chosen) as place:
        yield place, place.sender, place.queue


def step(run: Mapping[str, Any], name: str) -> dict:
    found = [span for span in run["trace"] if span["name"] == name]
    assert len(found) == 1, [span["name"] for span in run["trace"]]
    return found[0]


def names(run: Mapping[str, Any]) -> Sequence[str]:
    return [span["name"] for span in run["trace"]]
