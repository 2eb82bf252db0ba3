"""The public test harness does what docs/testing.md says."""

from __future__ import annotations

from datetime import timedelta

import pytest

from milepost import App, Context, Cron, Event, Retries, StepError
from milepost.testing import Harness
from tests.bodies import noting


def shop(bodies: list[str]) -> App:
    app = App("shop")

    @app.function(
        id="order", trigger=Event("order/created"), retries=Retries(max_retries=2, first_delay="1s", jitter=0)
    )
    async def order(ctx: Context) -> str:
        try:
            payment = await ctx.step.run("charge", noting(bodies, "charge", "paid"))
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


async def test_a_message_that_the_engine_cannot_process_fails_the_test_and_says_what_it_is_about():
    bodies: list[str] = []
    async with Harness(shop(bodies)) as h:
        await h.send("order/created")
        run_id = (await h.only_run())["run_id"]
        await h.engine.sender.send_texts([f'{{"t":"nonsense","run":"{run_id}","fn":"shop-order"}}'])
        with pytest.raises(AssertionError, match=rf"failed 3 times .* 'nonsense' of function shop-order, run {run_id}"):
            await h.until_idle()
        # The message is dropped, and everything else continues.
        await h.advance("4d")
        assert (await h.only_run())["status"] == "Completed"


async def test_events_that_cannot_be_processed_fail_the_test_and_are_named():
    async with Harness(App("a")) as h:
        await h.engine.sender.send_texts(['{"t":"events","events":[{"name":"order/created"}]}'])
        with pytest.raises(
            AssertionError, match=r"failed 3 times .* the events order/created, most recently with KeyErr"
        ):
            await h.until_idle()
        await h.engine.sender.send_texts(["not JSON"])
        with pytest.raises(AssertionError, match=r"failed 3 times .*\(it is not JSON\)"):
            await h.advance("1h")


async def test_crashes_of_the_process_do_not_count_as_failures_of_a_message():
    bodies: list[str] = []
    async with Harness(shop(bodies)) as h:
        for _ in range(12):
            h.crash_at(4)
            await h.send("order/created", id="order-7")
        await h.advance("4d")
        assert h.lives > 20
        assert (await h.only_run())["status"] == "Completed"


async def test_a_crash_at_any_operation_of_a_replay_makes_one_replay():
    at = 0
    while True:
        bodies: list[str] = []
        async with Harness(shop(bodies)) as h:
            h.replace_step("charge", error=ValueError("stolen card"))
            await h.send("order/created")
            origin, lives = await h.only_run(), h.lives
            h.crash_at(at)
            replay = await h.replay(origin["run_id"], data={"order_id": "7"})
            runs = {run["run_id"]: run for run in await h.runs()}
            assert set(runs) == {origin["run_id"], replay.run_id}, at
            assert runs[replay.run_id]["event"]["data"] == {"order_id": "7"}, at
            assert runs[replay.run_id]["status"] == "Completed", at
            if h.lives == lives + 1:
                break
        at += 1
    assert at > 20
