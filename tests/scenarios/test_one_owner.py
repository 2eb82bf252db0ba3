"""User code is called by one owner at a time: what the bodies of the steps saw, not what the engine recorded."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any, Literal

import pytest

from milepost import App, Context, Event

from .rig import names, rig

Mode = Literal["step", "checkpoint"]
MODES: tuple[Mode, ...] = ("step", "checkpoint")


def charging(mode: Mode, bodies: Counter[str]) -> App:
    """A function that waits for a payment, then charges slowly."""
    app = App("shop")

    async def charge(run_id: str) -> int:
        bodies[run_id] += 1
        for _ in range(100):
            await asyncio.sleep(0)
        return bodies[run_id]

    @app.function(id="order", trigger=Event("ordered"), mode=mode, retries=0)
    async def order(ctx: Context) -> int:
        await ctx.step.wait_for_event("paid", "paid", timeout="5m", match="data.n")
        return await ctx.step.run("charge", charge, ctx.run_id)

    return app


@pytest.mark.parametrize("mode", MODES)
async def test_a_second_event_that_fits_a_wait_runs_the_following_step_no_second_time(mode: Mode):
    bodies: Counter[str] = Counter()
    async with rig(charging(mode, bodies)) as made:
        for n in range(5):
            await made.send("ordered", {"n": n})
        await made.engine.accept([{"name": "paid", "data": {"n": n}} for n in range(5) for _ in range(2)])
        await made.settle()
        runs = await made.runs()
        assert {run["status"] for run in runs} == {"Completed"}
        assert sorted(bodies.values()) == [1] * 5
        assert [run["output"] for run in runs] == [1] * 5


@pytest.mark.parametrize("mode", MODES)
async def test_the_time_out_of_an_invoke_runs_the_following_step_no_second_time(mode: Mode):
    app, bodies = App("shop"), Counter[str]()

    @app.function(id="child", trigger=Event("never"))
    async def child(ctx: Context) -> str:
        return "done"

    @app.function(id="parent", trigger=Event("ordered"), mode=mode, retries=0)
    async def parent(ctx: Context) -> str:
        def charge() -> str:
            bodies["charge"] += 1
            return "charged"

        await ctx.step.invoke("call", child, {}, timeout="5m")
        await ctx.step.sleep("nap", "10m")
        return await ctx.step.run("charge", charge)

    async with rig(app) as made:
        await made.send("ordered")
        await made.wind(timedelta(hours=1))
        run = await made.only_run("shop-parent")
        assert (run["status"], bodies["charge"]) == ("Completed", 1)


@pytest.mark.parametrize("mode", MODES)
async def test_a_step_that_finishes_while_its_run_is_cancelled_stays_on_record(mode: Mode):
    app, bodies = App("shop"), list[str]()

    @app.function(id="order", trigger=Event("ordered"), mode=mode)
    async def order(ctx: Context) -> None:
        def charge() -> str:
            bodies.append("charge")
            # From the thread of user code into the engine's loop, as a person's request would come.
            asyncio.run_coroutine_threadsafe(made.engine.operations.cancel(ctx.run_id), home).result(5)
            return "payment-7"

        await ctx.step.run("reserve", bodies.append, "reserve")
        await ctx.step.run("charge", charge)
        await ctx.step.run("ship", bodies.append, "ship")

    home = asyncio.get_running_loop()
    async with rig(app) as made:
        await made.send("ordered")
        run = await made.only_run()
        assert run["status"] == "Cancelled"
        assert bodies == ["reserve", "charge"]
        assert names(run) == bodies
        assert run["trace"][-1]["output"] == "payment-7"


@pytest.mark.parametrize("mode", MODES)
async def test_the_limit_of_all_results_together_holds_where_it_is_reached_in_both_modes(mode: Mode):
    app, bodies = App("shop"), Counter[str]()

    def large() -> str:
        bodies["large"] += 1
        return "x" * 4_000_000

    @app.function(id="order", trigger=Event("ordered"), mode=mode, retries=0)
    async def order(ctx: Context) -> str:
        for n in range(12):
            await ctx.step.run(f"part {n}", large)
        return "all"

    async with rig(app) as made:
        await made.send("ordered")
        run = await made.only_run()
        assert (run["status"], run["error"]["name"]) == ("Failed", "InngestErrStateOverflowed")
        recorded = [name for name in names(run) if name.startswith("part")]
        assert bodies["large"] == len(recorded) < 12


async def test_a_cancelled_run_that_has_not_started_never_starts():
    """The cancellation is decided where it is accepted: no message has to wait its turn for that."""
    app, bodies = App("shop"), list[str]()

    @app.function(id="order", trigger=Event("ordered"))
    async def order(ctx: Context) -> None:
        await ctx.step.run("charge", bodies.append, "charge")

    async with rig(app) as made:
        read = await made.engine.accept({"name": "ordered"})
        event = read.events[0]
        await made.engine.intake.take(event)  # the run exists, its message waits in the queue
        rows: Any = (await made.engine.queries.list_runs(made.which(None), limit=5))["runs"]
        await made.engine.operations.cancel(rows[0]["run_id"])
        assert (await made.run(rows[0]["run_id"]))["status"] == "Cancelled"
        await made.settle()
        assert bodies == []
