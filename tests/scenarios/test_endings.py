"""What ends a run early, and what the world hears of its end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from milepost import App, Cancel, Context, Cron, Event, Retries, Timeouts
from milepost_engine.core.ids import to_ms, ulid

from .rig import rig

ENDS = ("inngest/function.finished", "inngest/function.failed", "inngest/function.cancelled")


def listening() -> tuple[App, list[dict]]:
    """An app whose runs end in every way, and the events about the ends."""
    app, heard = App("a"), list[dict]()

    @app.function(id="well", trigger="well")
    async def well(ctx: Context) -> int:
        return await ctx.step.run("one", lambda: 1)

    @app.function(id="badly", trigger="badly", retries=0)
    async def badly(ctx: Context) -> None:
        raise ValueError("broken")

    @app.function(id="early", trigger="early", cancel_on=[Cancel("stop")])
    async def early(ctx: Context) -> None:
        await ctx.step.sleep("long", "1d")

    @app.function(id="listener", triggers=list(ENDS), retries=0)
    async def listener(ctx: Context) -> None:
        heard.append({"name": ctx.event.name, **ctx.event.data})

    return app, heard


async def test_each_end_of_a_run_is_an_event_with_its_run_function_and_first_event():
    app, heard = listening()
    async with rig(app) as r:
        for name in ("well", "badly", "early", "stop"):
            await r.send(name, {"n": 7})
        await r.wind(10)
        runs = {run["function_id"]: run["run_id"] for run in await r.runs() if run["function_id"] != "a-listener"}
    # The listener's own ends are published too; otherwise no function could listen to all.
    published = {(event["name"].rpartition(".")[2], event["function_id"]): event for event in heard}
    finished, failed = published["finished", "a-well"], published["failed", "a-badly"]
    assert (finished["run_id"], finished["result"], finished["event"]["data"]) == (runs["a-well"], 1, {"n": 7})
    assert (failed["run_id"], failed["error"]["message"]) == (runs["a-badly"], "broken")
    assert published["cancelled", "a-early"]["run_id"] == runs["a-early"]
    # A failed run has finished too.
    assert ("finished", "a-badly") in published


async def test_without_a_listener_no_event_is_published():
    app = App("a")

    @app.function(id="well", trigger="well")
    async def well(ctx: Context) -> int:
        return 1

    async with rig(app) as r:
        await r.send("well")
        names = await r.engine.events.names()
    assert names == ["well"]


@pytest.mark.patient
@pytest.mark.parametrize(("user", "status"), [(1, "Cancelled"), (2, "Completed")])
async def test_a_condition_of_a_cancellation_compares_both_events(user: int, status: str):
    app = App("a")
    stop = Cancel("stop", if_="event.data.user == async.data.user && async.data.sure == true")

    @app.function(id="f", trigger="go", cancel_on=[stop])
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("nap", "1h")

    async with rig(app) as r:
        await r.send("go", {"user": 1})
        await r.send("stop", {"user": 1, "sure": False})
        await r.send("stop", {"user": user, "sure": True})
        await r.wind(timedelta(hours=2))
        run = await r.only_run()
    assert (run["status"], run["outcome"]) == (status, "event" if status == "Cancelled" else run["outcome"])


@pytest.mark.patient
@pytest.mark.parametrize(("minutes", "status"), [(9, "Cancelled"), (11, "Completed")])
async def test_a_cancellation_may_come_for_so_long_only(minutes: int, status: str):
    app = App("a")

    @app.function(id="f", trigger="go", cancel_on=[Cancel("stop", timeout="10m")])
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("nap", "1h")

    async with rig(app) as r:
        await r.send("go")
        await r.wind(timedelta(minutes=minutes))
        await r.send("stop")
        await r.wind(timedelta(hours=2))
        assert (await r.only_run())["status"] == status


async def test_a_run_that_has_not_started_in_time_is_cancelled_and_its_body_never_runs():
    app, ran = App("a"), []

    @app.function(id="f", trigger="go", timeouts=Timeouts(start="10m"))
    async def f(ctx: Context) -> None:
        ran.append(1)

    async with rig(app) as r:
        moment = r.clock.now() + timedelta(hours=1)
        await r.send("go", ts=int(moment.timestamp() * 1000))
        await r.wind(60)
        # The limit counts from the moment at which it may start. Then the machine was off for a while.
        await r.clock.advance_to(moment + timedelta(minutes=11))
        await r.wind(60)
        run = await r.only_run()
    assert (run["status"], run["outcome"], ran) == ("Cancelled", "start timeout", [])


@pytest.mark.patient
async def test_a_run_over_its_time_is_cancelled_between_two_steps_and_what_it_did_stays_on_record():
    app = App("a")

    @app.function(id="f", trigger="go", timeouts=Timeouts(finish="1h"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("done", lambda: "kept")
        await ctx.step.sleep("nap", "2h")
        await ctx.step.run("never", lambda: None)

    async with rig(app) as r:
        await r.send("go")
        await r.wind(timedelta(hours=3))
        run = await r.only_run()
    assert run["status"] == "Cancelled"
    assert [(span["name"], span["output"]) for span in run["trace"] if span["kind"] == "run"] == [("done", "kept")]


@pytest.mark.patient
async def test_an_idempotency_key_is_free_again_after_24_hours_and_differs_by_its_value():
    app = App("a")

    @app.function(id="f", trigger="go", idempotency="event.data.cart + '-' + event.data.user")
    async def f(ctx: Context) -> None: ...

    async with rig(app) as r:
        for cart in ("a", "a", "b"):
            await r.send("go", {"cart": cart, "user": "u"})
        assert len(await r.runs()) == 2
        await r.wind(timedelta(hours=23, minutes=59))
        await r.send("go", {"cart": "a", "user": "u"})
        assert len(await r.runs()) == 2
        await r.wind(timedelta(minutes=2))
        await r.send("go", {"cart": "a", "user": "u"})
        assert len(await r.runs()) == 3


@pytest.mark.patient
async def test_a_cancelled_run_stops_its_retries_and_its_failure_handler_is_not_called():
    app, handled, tried = App("a"), [], []

    async def after(ctx: Context) -> None:
        handled.append(1)

    @app.function(id="f", trigger="go", retries=Retries(max_retries=9, first_delay="1m"), on_failure=after)
    async def f(ctx: Context) -> None:
        tried.append(1)
        raise ConnectionError("down")

    async with rig(app) as r:
        await r.send("go")
        [run] = await r.runs()
        await r.engine.operations.cancel(run["run_id"], "not needed")
        await r.wind(timedelta(days=1))
        [run] = await r.runs()
    assert (run["status"], len(tried), handled) == ("Cancelled", 1, [])


async def test_event_triggers_with_conditions_and_wildcards_start_what_fits():
    app, ran = App("a"), []

    def note(name: str):
        async def handler(ctx: Context) -> None:
            ran.append(name)

        return handler

    app.function(id="all", trigger="order/*")(note("all"))
    app.function(id="large", trigger=Event("order/created", if_="event.data.cents > 1000"))(note("large"))
    app.function(id="either", triggers=["order/created", "order/paid"])(note("either"))
    async with rig(app) as r:
        await r.send("order/created", {"cents": 5})
        await r.send("order/created", {"cents": 5000})
        await r.send("order/paid")
        await r.send("orders/created", {"cents": 5000})
    assert sorted(ran) == ["all", "all", "all", "either", "either", "either", "large"]


async def test_runs_of_a_function_that_was_taken_out_are_still_listed_with_their_event():
    app = App("a")

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> None: ...

    async with rig(app) as r:
        event_id = await r.send("go")
        [run] = await r.runs()
        changes = (
            lambda: r.serve(App("a")),
            lambda: r.engine.registry.remove("a"),
            lambda: r.serve(app),
            lambda: r.serve(App("a")),
        )
        for change in changes:
            await change()
            assert [row["run_id"] for row in await r.runs()] == [run["run_id"]]
            event: Any = await r.engine.queries.event(event_id)
            assert event is not None
            assert [row["run_id"] for row in event["runs"]] == [run["run_id"]]


async def test_the_event_of_a_cron_tick_or_a_start_by_hand_shows_its_run():
    app = App("a")
    app.function(id="f", trigger=Cron("* * * * *"))(_nothing)
    async with rig(app) as r:
        await r.wind(61)
        await r.engine.starts.start("a-f", {}, ulid(to_ms(r.clock.now()), bytes(10)))
        await r.settle()
        for run in await r.runs():
            event: Any = await r.engine.queries.event(run["event_id"])
            assert event is not None
            assert [row["run_id"] for row in event["runs"]] == [run["run_id"]]


async def _nothing(ctx: Context) -> None: ...
