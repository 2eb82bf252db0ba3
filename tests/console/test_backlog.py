"""What a function still has to do is counted, and what was not looked at is said."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from milepost import App, Context, Event, Retries
from milepost.testing import Harness
from milepost_console.server.backlog import backlog


def busy() -> App:
    app = App("busy", retries=Retries(max_retries=1, first_delay="1h", jitter=0))

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context[Any]) -> None:
        match ctx.event.data["do"]:
            case "sleep":
                await ctx.step.sleep("nap", "2h")
            case "wait":
                await ctx.step.wait_for_event("word", "word", timeout="2h")
            case "invoke":
                await ctx.step.invoke("ask", child)
            case "fail":
                raise OSError("down")

    @app.function(id="child", triggers=[])
    async def child(ctx: Context[Any]) -> None:
        await ctx.step.sleep("nap", "2h")

    return app


async def test_open_runs_are_counted_by_what_they_wait_for():
    async with Harness(busy()) as h:
        for do in ("sleep", "sleep", "wait", "invoke", "fail", "nothing"):
            await h.send("go", {"do": do})
        later = round((h.clock.now() + timedelta(hours=1)).timestamp() * 1000)
        await h.send("go", {"do": "nothing"}, ts=later)
        found = await backlog(h.engine, "busy-f")
        oldest = min(run["queued_at"] for run in await h.runs("busy-f") if run["ended_at"] is None)
    assert found == {
        "queued": 1, "running": 5, "looked_at": 5, "working": 0, "retrying": 1, "sleeping": 2, "waiting": 1,
        "invoking": 1, "oldest_at": oldest, "cut": False,
    }  # fmt: skip


async def test_nothing_is_left_when_all_have_ended():
    async with Harness(busy()) as h:
        await h.send("go", {"do": "nothing"})
        found = await backlog(h.engine, "busy-f")
    assert (found["queued"], found["running"], found["oldest_at"], found["cut"]) == (0, 0, None, False)


async def test_older_runs_that_were_not_looked_at_are_said_to_be_there():
    async with Harness(busy()) as h:
        for _ in range(4):
            await h.send("go", {"do": "sleep"})
        found = await backlog(h.engine, "busy-f", most=3, loaded_most=2)
    assert (found["running"], found["looked_at"], found["sleeping"], found["cut"]) == (3, 2, 2, True)
