"""Checkpoint mode: as many steps in one invocation as its time allows, each saved before the next begins."""

from __future__ import annotations

import asyncio
import json

import pytest

from milepost import App, Context, Event, Retries

from .rig import names, rig, step

QUICK = Retries(max_retries=3, first_delay="1s", jitter=0)


async def test_three_steps_take_one_invocation_and_are_saved_one_by_one():
    app = App("a")

    @app.function(id="f", trigger=Event("go"), mode="checkpoint")
    async def f(ctx: Context) -> int:
        total = 0
        for n in range(3):
            total += await ctx.step.run(f"s{n}", lambda n: n, n)
        return total

    async with rig(app) as r:
        await r.send("go")
        run = await r.only_run()
        assert (run["status"], run["output"]) == ("Completed", 3)
        assert names(run) == ["s0", "s1", "s2"]
        assert len(r.served.calls) == 1


async def test_a_failing_step_is_retried_and_those_before_it_are_not_repeated():
    app, bodies = App("a"), []

    @app.function(id="f", trigger=Event("go"), mode="checkpoint", retries=QUICK)
    async def f(ctx: Context) -> str:
        await ctx.step.run("charge", lambda: bodies.append("charge"))

        def write() -> str:
            bodies.append("write")
            if bodies.count("write") < 3:
                raise ConnectionError("down")
            return "written"

        written = await ctx.step.run("write", write)
        await ctx.step.run("mail", lambda: bodies.append("mail"))
        return written

    async with rig(app) as r:
        await r.send("go")
        await r.wind(10)
        run = await r.only_run()
        assert (run["status"], run["output"]) == ("Completed", "written")
        assert bodies == ["charge", "write", "write", "write", "mail"]
        assert [a["attempt"] for a in step(run, "write")["attempts"]] == [0, 1, 2]


async def test_sleeps_waits_and_parallel_steps_work_in_between():
    app = App("a")

    @app.function(id="f", trigger=Event("go"), mode="checkpoint")
    async def f(ctx: Context) -> list[int]:
        one = await ctx.step.run("one", lambda: 1)
        await ctx.step.sleep("nap", "5s")
        two, three = await asyncio.gather(ctx.step.run("two", lambda: 2), ctx.step.run("three", lambda: 3))
        four = await ctx.step.run("four", lambda: 4)
        return [one, two, three, four]

    async with rig(app) as r:
        await r.send("go")
        await r.wind(10)
        assert (await r.only_run())["output"] == [1, 2, 3, 4]


@pytest.mark.parametrize("last", [0, 1, 2])
async def test_a_cancelled_run_stops_before_its_next_step(last: int):
    app, bodies = App("a"), []

    @app.function(id="f", trigger=Event("go"), mode="checkpoint")
    async def f(ctx: Context) -> None:
        for n in range(4):

            def body(n: int = n) -> None:
                bodies.append(n)
                if n == last:
                    # From the thread of user code into the engine's loop, as a person's request would come.
                    message = {"t": "cancel", "run": ctx.run_id, "fn": "a-f", "outcome": "api", "reason": ""}
                    asyncio.run_coroutine_threadsafe(r.engine.handle(json.dumps(message)), home).result(5)

            await ctx.step.run(f"s{n}", body)

    home = asyncio.get_running_loop()
    async with rig(app) as r:
        await r.send("go")
        run = await r.only_run()
        assert run["status"] == "Cancelled"
        assert bodies == list(range(last + 1))
