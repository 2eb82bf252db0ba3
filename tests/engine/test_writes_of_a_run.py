"""How many table writes a run costs: a sleep, wait, retry, branch or child adds at most three, whatever came before.

Counted are the writes of the run's own items: its header and its records.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from milepost import App, Context, Event, Retries
from milepost_engine.adapters.clock import WoundClock
from milepost_engine.adapters.local.invoke_inprocess import InProcessInvoker
from milepost_engine.adapters.local.queue import LocalQueue, Received
from milepost_engine.adapters.local.sqlite import SqliteStore
from milepost_engine.adapters.random_source import SeededRandom
from milepost_engine.engine import Engine
from milepost_engine.ports import Key, Put, Target

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class CountedWrites:
    """A table that counts the writes of runs, and the items that are read of them."""

    def __init__(self, table: Any) -> None:
        self.table = table
        self.count = 0
        self.items_read = 0

    async def query(self, partition: str, *more: Any, **options: Any) -> Any:
        page = await self.table.query(partition, *more, **options)
        self.items_read += len(page.items) if partition.startswith("R#") else 0
        return page

    def __getattr__(self, name: str) -> Any:
        return getattr(self.table, name)

    def _note(self, partition: object) -> None:
        self.count += str(partition).startswith(("F#", "R#"))

    async def put(self, item: Any, *more: Any) -> None:
        self._note(item["pk"])
        await self.table.put(item, *more)

    async def update(self, key: Key, *more: Any) -> Any:
        self._note(key.pk)
        return await self.table.update(key, *more)

    async def delete(self, key: Key, *more: Any) -> None:
        self._note(key.pk)
        await self.table.delete(key, *more)

    async def transact(self, writes: Any) -> None:
        for write in writes:
            self._note(write.item["pk"] if isinstance(write, Put) else write.key.pk)
        await self.table.transact(writes)


STORY = {"failed": 0}


def app_of(kind: str, steps: int) -> App:
    app = App("a")

    @app.function(id="child", trigger=Event("never"))
    async def child(ctx: Context) -> int:
        return 1

    async def number() -> int:
        return 1

    async def flaky() -> int:
        STORY["failed"] += 1
        if STORY["failed"] == 1:
            raise RuntimeError("not yet")
        return 1

    @app.function(id="f", trigger=Event("go"), retries=Retries(max_retries=3, first_delay="10s", jitter=0))
    async def f(ctx: Context) -> None:
        for n in range(steps):
            await ctx.step.run(f"step {n}", number)
        match kind:
            case "sleep":
                await ctx.step.sleep("nap", "10m")
            case "wait":
                await ctx.step.wait_for_event("paid", "paid", timeout="1h")
            case "retry":
                await ctx.step.run("flaky", flaky)
            case "branches":
                await asyncio.gather(ctx.step.run("left", number), ctx.step.run("right", number))
            case "child":
                await ctx.step.invoke("call", child, {})
            case "polling":
                for _ in range(20):
                    await ctx.step.run("poll", number)
                    await ctx.step.sleep("nap", "10m")
            case _:
                pass

    return app


async def writes_of(kind: str, steps: int) -> int:
    STORY["failed"] = 0
    return (await run_to_its_end(app_of(kind, steps), children=kind == "child")).count


async def run_to_its_end(app: App, *, children: bool = False) -> CountedWrites:
    clock = WoundClock(START)
    store = SqliteStore.open(":memory:", clock=clock)
    table, queue = CountedWrites(store.table), LocalQueue(store, clock, "work")
    invoker = InProcessInvoker({"a": app})
    engine = Engine.build(
        table=table, blobs=store.blobs, queue=queue, invokers={"inprocess": invoker}, clock=clock,
        random_source=SeededRandom(1),
    )  # fmt: skip
    invoker.checkpointer = engine.checkpointer
    await engine.registry.sync(app.manifest("http://a/app"), Target("inprocess", "a"))
    await engine.accept({"name": "go"})

    async def handle(received: Received) -> None:
        await engine.handle(received.body, redelivered=received.receive_count > 1)

    for _ in range(5 * 60):
        await queue.drain(handle)
        await clock.advance_to(clock.now() + timedelta(minutes=1))
        await engine.timers.tick()
    rows = (await store.table.query("F#a-f")).items
    assert [row["status"] for row in rows] == ["Completed"]
    assert len((await store.table.query("F#a-child")).items) == int(children)
    store.close()
    return table


@pytest.mark.parametrize("steps", [3, 20])
async def test_a_run_costs_a_write_for_each_step_and_three_more(steps: int):
    assert await writes_of("none", steps) == steps + 3


@pytest.mark.parametrize("steps", [3, 20])
@pytest.mark.parametrize(
    ("kind", "more"),
    [("sleep", 3), ("wait", 3), ("retry", 3), ("branches", 3 * 2 + 1), ("child", 3 + 3)],
)
async def test_whatever_a_run_waits_for_costs_at_most_three_writes_each(kind: str, more: int, steps: int):
    """A branch is one of two, and a peek may come between them; a child costs a header, a claim and an end."""
    assert await writes_of(kind, steps) <= steps + 3 + more


async def test_a_polling_loop_costs_the_same_for_each_turn():
    assert await writes_of("polling", 0) <= 3 + 20 * (1 + 3)


@pytest.mark.parametrize("steps", [1_000, 10_000])
async def test_ten_thousand_steps_cost_one_write_each_and_are_read_twice_at_most(steps: int):
    """In checkpoint mode: once when the invocation is answered, once more for each further invocation."""
    app, bodies = App("a", checkpoint_budget="10m"), list[int]()

    @app.function(id="f", trigger=Event("go"), mode="checkpoint")
    async def f(ctx: Context) -> None:
        for n in range(steps):
            await ctx.step.run("step", bodies.append, n)

    counted = await run_to_its_end(app)
    assert bodies == list(range(steps))
    assert counted.count == steps + 3
    assert counted.items_read <= 2 * steps + 10
