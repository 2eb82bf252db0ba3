"""What is read from the table is what was written to it, at a size that does not grow with the run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from milepost.protocol import DISCOVERY, Opcode
from milepost_engine.adapters.clock import WoundClock
from milepost_engine.adapters.local.sqlite import SqliteStore
from milepost_engine.core.inputs import InvocationReturned, ReportedOp, TimerDue, TimerKind
from milepost_engine.core.machine import advance
from milepost_engine.core.run import Plan, Run, RunStatus
from milepost_engine.ports import Page
from milepost_engine.runs.requests import build_call
from milepost_engine.store.runs import RunStore
from milepost_engine.store.values import Values

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


async def sleeps(runs: RunStore, run: Run, count: int) -> Run:
    """The run after so many sleeps, one after the other, each record saved."""
    now = START
    for n in range(count):
        nap = ReportedOp(f"{n:040x}", Opcode.SLEEP, "nap", opts={"duration": "1m"})
        for given in (
            InvocationReturned(build_call(run, run.discovery_job, 0, now), (nap,)),
            TimerDue(TimerKind.STEP, nap.step_id),
        ):
            decision = advance(run, given, now)
            assert await runs.save(decision) is None
            run, now = decision.run, now + timedelta(minutes=1)
    return run


async def test_a_run_of_many_plans_is_read_as_it_was_written():
    store = SqliteStore.open(":memory:", clock=WoundClock(START))
    runs = RunStore(store.table, Values(store.blobs))
    run = Run("R", "a", "a-f", RunStatus.RUNNING, ("E",), "go", START)
    await runs.create(run)
    run = await sleeps(runs, run, 30)
    assert await runs.load("R", "a-f") == run
    store.close()


async def test_each_plan_of_a_long_run_is_written_at_the_size_of_the_first():
    store = SqliteStore.open(":memory:", clock=WoundClock(START))
    runs = RunStore(store.table, Values(store.blobs))
    run = Run("R", "a", "a-f", RunStatus.RUNNING, ("E",), "go", START)
    await runs.create(run)
    await sleeps(runs, run, 200)
    plans = (await store.table.query("R#R", first="P#", last="P#~")).items
    sizes = [len(str(plan["order"])) for plan in plans]
    assert len(sizes) == 200
    assert max(sizes) == 40
    store.close()


async def test_a_plan_that_contradicts_the_one_before_is_written_in_full():
    store = SqliteStore.open(":memory:", clock=WoundClock(START))
    runs = RunStore(store.table, Values(store.blobs))
    run = Run("R", "a", "a-f", RunStatus.RUNNING, ("E",), "go", START)
    await runs.create(run)
    run = await sleeps(runs, run, 3)
    backwards = Plan(len(run.plans), f"{DISCOVERY}#x", run.order[::-1], (), START)
    decision = advance(run, TimerDue(TimerKind.PEEK), START)
    decision = replace(decision, run=run.with_record(backwards), records=(backwards,))
    assert await runs.save(decision) is None
    loaded = await runs.load("R", "a-f")
    assert loaded is not None
    assert loaded.order == run.order[::-1]
    store.close()


class Late:
    """A table whose first query of a run passes a plan before it is written, and comes to the next one after."""

    def __init__(self, table: Any) -> None:
        self.table = table
        self.queries = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.table, name)

    async def query(self, partition: str, **bounds: Any) -> Page:
        self.queries += 1
        page = await self.table.query(partition, **bounds)
        return Page([item for item in page.items if item["sk"] != "P#00001"]) if self.queries == 1 else page


async def test_a_run_that_was_read_while_it_was_written_is_read_again():
    store = SqliteStore.open(":memory:", clock=WoundClock(START))
    late = Late(store.table)
    runs = RunStore(late, Values(store.blobs))
    run = Run("R", "a", "a-f", RunStatus.RUNNING, ("E",), "go", START)
    await runs.create(run)
    run = await sleeps(runs, run, 3)
    assert await runs.load("R", "a-f") == run
    assert late.queries == 2
    store.close()
