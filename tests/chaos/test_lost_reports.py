"""Invocations that nobody waits for: of which nothing is ever heard, and whose run another worker takes over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from milepost import App, Context, Event
from milepost_engine.ports import Condition, Item, Table
from milepost_engine.runs.sweeper import LATEST_START, WATCH_GRACE
from milepost_engine.store.messages import DoJob

from .ledger import Ledger
from .world import World, world

TIMEOUT = timedelta(seconds=60)


def one_step(ledger: Ledger) -> App:
    app = App("a")

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> object:
        return await ctx.step.run("long", ledger.body(ctx, "long", 7))

    return app


async def test_a_long_step_is_asked_for_again_once_it_can_no_longer_be_under_way():
    async with world(3, one_step, share=0.0, seam="ports", reports=True) as made:
        made.later.swallows = 1
        await made.accept("go", {}, b"0000000001")
        await made.live(WATCH_GRACE + LATEST_START + TIMEOUT)
        assert made.later.begun == 0
        assert [run["status"] for run in await made.runs()] == ["Running"]
        await made.live(timedelta(minutes=5))
        assert [(run["status"], run["output"]) for run in await made.runs()] == [("Completed", 7)]
        assert made.later.begun == 1


def two_steps(ledger: Ledger) -> App:
    app = App("a")

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> object:
        return [await ctx.step.run(name, ledger.body(ctx, name, name)) for name in ("one", "two")]

    return app


@dataclass
class TakenOver:
    """A table: the first time that a step was recorded, another worker makes the run its own."""

    inner: Table
    made: World
    happened: list[str]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def put(self, item: Item, when: Condition | None = None) -> None:
        await self.inner.put(item, when)
        if str(item["sk"]).startswith("S#") and not self.happened:
            self.happened.append(str(item["name"]))
            runs = self.made.quiet.runs
            run = await runs.load(str(item["pk"])[2:])
            assert run is not None
            # As the sweeper would, for an owner that it takes for dead.
            job = DoJob(run.run_id, run.function_id, job=run.discovery_job, succeeds=run.owner)
            await self.made.quiet.sender.send(job)


async def test_who_was_notified_first_continues_although_another_has_taken_the_run_over():
    """The other one hands the same call over again, which finds that it is not wanted any more."""
    async with world(5, two_steps, share=0.0, seam="ports", reports=True) as made:
        plain, happened = made.open_ports, list[str]()
        made.open_ports = lambda storm: replace(plain(storm), table=TakenOver(plain(storm).table, made, happened))
        made.workers.clear()
        await made.start()
        await made.accept("go", {}, b"0000000001")
        await made.live(timedelta(minutes=2))
        assert happened == ["one"]
        assert [(run["status"], run["output"]) for run in await made.runs()] == [("Completed", ["one", "two"])]
        assert made.later.begun == 2
