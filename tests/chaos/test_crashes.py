"""The process may die between any two I/O operations: nothing is lost, and no recorded step runs again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from milepost import App, Context, Event, Retries, StepError
from milepost_console.testing.crashes import Crashed, Deaths
from milepost_engine.adapters.clock import WoundClock
from milepost_engine.adapters.local.queue import LocalQueue, Received
from milepost_engine.adapters.local.sqlite import SqliteStore
from milepost_engine.adapters.random_source import SeededRandom
from milepost_engine.core.run import ClosedStep, Record, Run
from milepost_engine.engine import Engine, EngineSettings
from milepost_engine.observe import Silent
from milepost_engine.ports import Target
from tests.scenarios.rig import START, Served

LIFE: ContextVar[int] = ContextVar("life", default=0)
"""Which process the code runs in; it travels with an invocation to its thread."""

QUICK = Retries(max_retries=3, first_delay="1s", jitter=0)


T = TypeVar("T")


@dataclass
class Notes(Silent):
    """Remembers what was recorded, and that a body never ran after its result was."""

    recorded_steps: set[tuple[str, str]] = field(default_factory=set)
    bodies: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    life: int = 0

    def recorded(self, run: Run, record: Record) -> None:
        if isinstance(record, ClosedStep) and record.job != "kept":
            if (run.run_id, record.name) in self.recorded_steps:
                self.repeated.append(f"{record.name} recorded twice")
            self.recorded_steps.add((run.run_id, record.name))

    def body(self, ctx: Context, name: str, value: T | None = None) -> Callable[[], T]:
        def run() -> Any:
            if LIFE.get() != self.life:
                return value  # a thread of a dead process: really it would have died too
            self.bodies.append(name)
            if (ctx.run_id, name) in self.recorded_steps:
                self.repeated.append(f"{name} ran after it was recorded")
            return value

        return run


def shop(notes: Notes) -> App:
    app = App("a")

    @app.function(id="child", triggers=[], retries=QUICK)
    async def child(ctx: Context) -> int:
        return await ctx.step.run("child", notes.body(ctx, "child", 5))

    @app.function(id="story", trigger=Event("go"), retries=QUICK)
    async def story(ctx: Context) -> list[object]:
        first = await ctx.step.run("first", notes.body(ctx, "first", 1))
        left, right = await asyncio.gather(
            ctx.step.run("left", notes.body(ctx, "left", 2)), ctx.step.run("right", notes.body(ctx, "right", 3))
        )
        await ctx.step.sleep("nap", "5s")

        def flaky() -> int:
            notes.body(ctx, "flaky")()
            if notes.bodies.count("flaky") < 2:
                raise ConnectionError("down")
            return 4

        fourth = await ctx.step.run("flaky", flaky)
        fifth = await ctx.step.invoke("call", child)
        found = await ctx.step.wait_for_event("signal", "signal", timeout="10m", lookback="10m")
        with suppress(StepError):
            await ctx.step.run("unserializable", notes.body(ctx, "unserializable", object()), retries=0)
        return [first, left, right, fourth, fifth, found is not None]

    async def mourn(ctx: Context) -> object:
        return await ctx.step.run("mourn", notes.body(ctx, "mourn", "noted"))

    @app.function(id="doomed", trigger=Event("go"), retries=0, on_failure=mourn)
    async def doomed(ctx: Context) -> None:
        raise ValueError("no way")

    return app


class World:
    """A store that outlives its processes."""

    def __init__(self) -> None:
        self.clock = WoundClock(START)
        self.store = SqliteStore.open(":memory:", clock=self.clock)
        self.notes = Notes()
        self.app = shop(self.notes)

    async def process(self, deaths: Deaths, work: Callable[[Engine, LocalQueue], Awaitable[None]]) -> bool:
        """One life of the process: True when it came to the end of its work."""
        self.notes.life += 1
        LIFE.set(self.notes.life)
        queue = LocalQueue(self.store, self.clock, "work", max_receives=10_000)
        served = Served({"a": self.app})
        engine = Engine.build(
            table=deaths.shell(self.store.table),
            blobs=deaths.shell(self.store.blobs),
            queue=deaths.shell(queue),
            invokers={"inprocess": deaths.shell(served)},
            clock=self.clock,
            random_source=SeededRandom(3),
            observer=self.notes,
            settings=EngineSettings(inline_bytes=64),
        )
        try:
            await engine.registry.sync(self.app.manifest("http://local/a"), Target("inprocess", "a"))
            await work(engine, queue)
        except BaseExceptionGroup as group:
            if group.subgroup(Crashed) is None:
                raise
            return False
        except Crashed:
            return False
        return True


async def _live(engine: Engine, queue: LocalQueue, clock: WoundClock, span: timedelta) -> None:
    async def handle(received: Received) -> None:
        await engine.handle(received.body, redelivered=received.receive_count > 1)

    end = clock.now() + span
    while True:
        await queue.drain(handle)
        due = queue.next_due()
        if due is None or due > end:
            return
        await clock.advance_to(due)


async def _story(deaths_at: Callable[[int], int | None], limit: int) -> World:
    """The whole story through as many lives as it takes; returns the world at its end."""
    world = World()
    accepted: list[str] = []

    async def work(engine: Engine, queue: LocalQueue) -> None:
        if not accepted:
            read = await engine.accept({"name": "go"}, seed=(1_800_000_000_000, b"0123456789"))
            accepted.append(read.events[0].event_id)
        if len(accepted) == 1:
            await _live(engine, queue, world.clock, timedelta(minutes=2))
            await engine.accept({"name": "signal"}, seed=(1_800_000_000_000, b"9876543210"))
            accepted.append("signal")
        await _live(engine, queue, world.clock, timedelta(minutes=20))

    for life in range(limit):
        if await world.process(Deaths(deaths_at(life)), work):
            return world
    raise AssertionError("the story never came to its end")


async def _check(world: World, shown: str) -> None:
    engine = Engine.build(
        table=world.store.table, blobs=world.store.blobs, queue=LocalQueue(world.store, world.clock, "other"),
        invokers={}, clock=world.clock, random_source=SeededRandom(1), settings=EngineSettings(inline_bytes=64),
    )  # fmt: skip
    await engine.registry.sync(world.app.manifest("http://local/a"), Target("inprocess", "a"))
    event = await engine.events.names()
    assert "go" in event
    from milepost_engine.operations.queries import RunFilter  # noqa: PLC0415

    rows: Any = (await engine.queries.list_runs(RunFilter(functions=("a-story",))))["runs"]
    assert len(rows) == 1, shown
    run: Any = await engine.queries.run(rows[0]["run_id"])
    assert run["status"] == "Completed", (shown, run["status"], [(s["name"], s["status"]) for s in run["trace"]])
    assert run["output"] == [1, 2, 3, 4, 5, True], shown
    mourned: Any = (await engine.queries.list_runs(RunFilter(functions=("a-doomed-failure",))))["runs"]
    assert [row["status"] for row in mourned] == ["Completed"], shown
    assert world.notes.repeated == [], shown
    queue = LocalQueue(world.store, world.clock, "work")
    assert await queue.dead_letters() == [], shown
    world.store.close()


async def _operations() -> int:
    counter = Deaths()
    world = World()

    async def work(engine: Engine, queue: LocalQueue) -> None:
        await engine.accept({"name": "go"}, seed=(1_800_000_000_000, b"0123456789"))
        await _live(engine, queue, world.clock, timedelta(minutes=2))
        await engine.accept({"name": "signal"}, seed=(1_800_000_000_000, b"9876543210"))
        await _live(engine, queue, world.clock, timedelta(minutes=20))

    assert await world.process(counter, work)
    await _check(world, "no death")
    return counter.count


async def test_a_death_at_any_io_operation_loses_nothing_and_repeats_no_recorded_step():
    operations = await _operations()
    assert operations > 80
    for at in range(2 * operations):
        world = await _story({0: at}.get, 3)
        await _check(world, f"died at half-operation {at}")


@pytest.mark.parametrize("seed", range(40))
async def test_many_deaths_at_random_moments_lose_nothing_either(seed: int):
    draw = random.Random(seed)
    world = await _story(lambda life: draw.randrange(8, 120) if life < 30 else None, 60)
    await _check(world, f"seed {seed}")
