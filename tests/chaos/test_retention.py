"""A run that sleeps as long as its records are kept outlives a crash at any operation."""

from __future__ import annotations

from milepost import App, Context, Event
from milepost.testing import Harness
from milepost_engine.store.run_items import DEFAULT_RETENTION


def sleeper() -> App:
    app = App("a")

    @app.function(id="sleeper", trigger=Event("go"))
    async def function(ctx: Context) -> str:
        await ctx.step.run("before", lambda: 1)
        await ctx.step.sleep("long", DEFAULT_RETENTION)
        return str(ctx.event.data["kept"])

    return app


async def test_a_run_that_sleeps_through_its_retention_survives_a_crash_at_any_operation():
    at = 0
    while True:
        async with Harness(sleeper()) as h:
            h.crash_at(at)
            await h.send("go", {"kept": "yes"})
            await h.advance(DEFAULT_RETENTION)
            run = await h.only_run()
            assert (run["status"], run["output"]) == ("Completed", "yes"), at
            if h.lives == 2:
                break
        at += 1
    assert at > 40
