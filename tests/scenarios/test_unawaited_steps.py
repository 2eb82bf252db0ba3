"""A step that is called but never awaited is named, and its run does not complete as if it had run."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from milepost import App, Context

from .rig import rig

MODES = ("step", "checkpoint")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("error")
async def test_a_step_that_is_called_but_never_awaited_fails_the_run_by_name(mode: Any):
    app, bodies = App("a"), list[str]()

    @app.function(id="f", trigger="go", mode=mode, retries=3)
    async def f(ctx: Context) -> str:
        await ctx.step.run("check", bodies.append, "check")
        ctx.step.run("charge card", bodies.append, "charge card")  # type: ignore[unused-coroutine]
        return "charged"

    async with rig(app) as r:
        await r.send("go")
        await r.wind(timedelta(hours=1))
        run = await r.only_run()
    assert bodies == ["check"]
    assert (run["status"], run["error"]["name"]) == ("Failed", "UnawaitedStepError")
    assert "step 'charge card' in function 'a-f', run " in run["error"]["message"]
    assert "never awaited" in run["error"]["message"]


@pytest.mark.parametrize("tool", ["sleep", "wait_for_event", "invoke", "send_event"])
async def test_every_step_tool_is_named(tool: str):
    app = App("a")

    @app.function(id="f", trigger="go", retries=0)
    async def f(ctx: Context) -> None:
        match tool:
            case "sleep":
                ctx.step.sleep("it", "1s")  # type: ignore[unused-coroutine]
            case "wait_for_event":
                ctx.step.wait_for_event(id="it", event="y", timeout="1h")  # type: ignore[unused-coroutine]
            case "invoke":
                ctx.step.invoke("it", f, {})  # type: ignore[unused-coroutine]
            case _:
                ctx.step.send_event("it", {"name": "y"})  # type: ignore[unused-coroutine]

    async with rig(app) as r:
        await r.send("go")
        assert "step 'it' in function" in (await r.only_run())["error"]["message"]


@pytest.mark.parametrize("mode", MODES)
async def test_steps_that_lose_a_race_or_are_cancelled_count_as_awaited(mode: Any):
    app, bodies = App("a"), list[str]()

    @app.function(id="f", trigger="go", mode=mode, retries=0)
    async def f(ctx: Context) -> str:
        tasks = [
            asyncio.ensure_future(ctx.step.sleep("nap", "1m")),
            asyncio.ensure_future(ctx.step.wait_for_event("never", "never", timeout="1d")),
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        before_it_starts = asyncio.ensure_future(ctx.step.run("cancelled", bodies.append, "cancelled"))
        before_it_starts.cancel()
        await asyncio.gather(before_it_starts, return_exceptions=True)
        for n in range(20):
            await ctx.step.run("one of many", bodies.append, str(n))
        return "ended"

    async with rig(app) as r:
        await r.send("go")
        await r.wind(120)
        run = await r.only_run()
    assert (run["status"], run["output"]) == ("Completed", "ended")
    assert bodies == [str(n) for n in range(20)]
