"""The public test harness does what docs/testing.md says."""

from __future__ import annotations

from datetime import timedelta

import pytest

from milepost import App, Context, Cron, Event, Retries, StepError
from milepost.testing import Harness


def shop(bodies: list[str]) -> App:
    app = App("shop")

    @app.function(id="order", trigger=Event("order/created"), retries=Retries(attempts=2, first_delay="1s", jitter=0))
    async def order(ctx: Context) -> str:
        try:
            payment = await ctx.step.run("charge", lambda: bodies.append("charge") or "paid")
        except StepError as failed:
            return f"refused: {failed.message}"
        await ctx.step.sleep("wait", "3d")
        await ctx.step.run("mail", lambda: bodies.append("mail"))
        return payment

    return app


async def test_time_is_skipped():
    bodies: list[str] = []
    async with Harness(shop(bodies)) as h:
        await h.send("order/created")
        assert bodies == ["charge"]
        await h.advance("3d")
        run = await h.only_run()
        assert (run["status"], run["output"], bodies) == ("Completed", "paid", ["charge", "mail"])


async def test_a_step_is_replaced_by_a_result_or_an_error():
    bodies: list[str] = []
    async with Harness(shop(bodies)) as h:
        h.replace_step("charge", "free")
        await h.send("order/created")
        await h.advance("4d")
        assert ((await h.only_run())["output"], bodies) == ("free", ["mail"])
    async with Harness(shop(bodies)) as h:
        h.replace_step("charge", error=ValueError("stolen card"))
        await h.send("order/created")
        assert (await h.only_run())["output"] == "refused: stolen card"


async def test_a_crash_at_any_operation_repeats_no_recorded_step():
    at = 0
    while True:
        bodies: list[str] = []
        async with Harness(shop(bodies)) as h:
            h.crash_at(at)
            await h.send("order/created")
            await h.advance(timedelta(days=4))
            run = await h.only_run()
            assert run["status"] == "Completed", at
            assert bodies.count("mail") <= 2
            if h.lives == 2:
                break
        at += 1
    assert at > 30


async def test_cron_functions_run_when_time_passes(milepost_harness):
    app, ticks = App("a"), []

    @app.function(id="hourly", trigger=Cron("0 * * * *"))
    async def hourly(ctx: Context) -> None:
        ticks.append(1)

    async with milepost_harness(app) as h:
        await h.advance("5h")
        assert len(ticks) == 5


async def test_a_bad_event_is_refused():
    async with Harness(App("a")) as h:
        with pytest.raises(ValueError, match="reserved"):
            await h.send("inngest/secret")
