"""Several workers share one table, as Lambdas do: branches end at the same time, and exactly one continues."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from milepost import App, Context
from milepost_engine.adapters.clock import WoundClock
from milepost_engine.adapters.local.queue import LocalQueue, Received
from milepost_engine.adapters.local.sqlite import SqliteStore
from milepost_engine.adapters.random_source import SeededRandom
from milepost_engine.engine import Engine, EngineSettings
from milepost_engine.operations.queries import RunFilter
from milepost_engine.ports import Table, Target
from tests.scenarios.rig import START, Served

WORKERS = 3
SEEDS = int(os.environ.get("SEEDS", "40"))


class Halting:
    """A port whose calls take effect some turns of the loop later, and return some turns after that."""

    def __init__(self, inner: object, rng: random.Random) -> None:
        self._inner = inner
        self._rng = rng

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        call = getattr(self._inner, name)

        async def halting(*args: object, **more: object) -> object:
            for _ in range(self._rng.choice((0, 0, 1, 5, 30))):
                await asyncio.sleep(0)
            result = await call(*args, **more)
            for _ in range(self._rng.choice((0, 0, 1, 5, 30))):
                await asyncio.sleep(0)
            return result

        return halting


class Workers:
    """Engines that know nothing of each other, over one store and one queue."""

    def __init__(self, app: App, seed: int) -> None:
        self.rng = random.Random(seed)
        self.clock = WoundClock(START)
        self.store = SqliteStore.open(":memory:", clock=self.clock)
        self.queue = LocalQueue(self.store, self.clock, "work")
        self.app = app
        self.engines = [self._engine(seed * WORKERS + number) for number in range(WORKERS)]

    def _engine(self, seed: int) -> Engine:
        served = Served({self.app.id: self.app})
        engine = Engine.build(
            table=cast("Table", Halting(self.store.table, self.rng)),
            blobs=self.store.blobs,
            queue=self.queue,
            invokers={"inprocess": served},
            clock=self.clock,
            random_source=SeededRandom(seed),
            settings=EngineSettings(),
        )
        served.invoker.checkpointer = engine.checkpointer
        return engine

    async def run(self, name: str, *, wind: timedelta | None = None, times: int = 1) -> dict[str, Any]:
        first = self.engines[0]
        await first.registry.sync(self.app.manifest("http://local/app"), Target("inprocess", self.app.id))
        await first.accept({"name": name, "data": {}})
        await self.queue.drain(self._handle)
        for _ in range(times if wind else 0):
            await self.clock.advance_to(self.clock.now() + (wind or timedelta(0)))
            await self.queue.drain(self._handle)
        rows: Any = (await first.queries.list_runs(RunFilter(), limit=10))["runs"]
        self.store.close()
        (row,) = rows
        return dict(row)

    async def _handle(self, received: Received) -> None:
        await self.rng.choice(self.engines).handle(received.body, redelivered=received.receive_count > 1)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_the_last_of_parallel_steps_goes_on_at_once_and_alone(seed: int) -> None:
    app, bodies = App("a"), Counter[str]()

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> None:
        for turn in range(2):
            await asyncio.gather(
                *(ctx.step.run(f"{turn}{branch}", bodies.update, [f"{turn}{branch}"]) for branch in "abc")
            )
            await ctx.step.run(f"after {turn}", bodies.update, [f"after {turn}"])

    row = await Workers(app, seed).run("go")
    # No time has passed: neither a timer nor the sweeper has helped.
    assert row["status"] == "Completed"
    assert set(bodies.values()) == {1}, bodies


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_what_follows_sleeps_that_end_together_runs_once(seed: int) -> None:
    app, bodies = App("a"), Counter[str]()

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> None:
        await asyncio.gather(*(ctx.step.sleep(f"nap {n}", "1m") for n in range(3)))
        await ctx.step.run("charge", bodies.update, ["charge"])

    row = await Workers(app, seed).run("go", wind=timedelta(minutes=1))
    assert row["status"] == "Completed"
    assert bodies == {"charge": 1}


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_branch_that_goes_on_while_another_ends_runs_its_steps_once(seed: int) -> None:
    app, bodies = App("a"), Counter[str]()

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> None:
        async def branch(name: str) -> None:
            await ctx.step.sleep(f"nap {name}", "1m")
            await ctx.step.run(f"charge {name}", bodies.update, [name])

        await asyncio.gather(*(branch(name) for name in "abc"))

    row = await Workers(app, seed).run("go", wind=timedelta(minutes=1))
    assert row["status"] == "Completed"
    assert bodies == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_branches_of_steps_and_sleeps_of_any_length_run_each_step_once(seed: int) -> None:
    app, bodies = App("a"), Counter[str]()

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> None:
        async def branch(name: str, *, sleeps: bool) -> None:
            for turn in range(2):
                await ctx.step.run(f"{name}{turn}", bodies.update, [f"{name}{turn}"])
                if sleeps:
                    await ctx.step.sleep(f"nap {name}{turn}", "20s")

        await asyncio.gather(branch("a", sleeps=True), branch("b", sleeps=False), branch("c", sleeps=True))
        await ctx.step.run("end", bodies.update, ["end"])

    row = await Workers(app, seed).run("go", wind=timedelta(minutes=1), times=3)
    assert row["status"] == "Completed"
    assert set(bodies.values()) == {1}, bodies
