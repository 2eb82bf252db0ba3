"""Sleeping, waiting, invoking, cancelling; events in, events out; cron and replay."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from milepost import App, Cancel, Context, Cron, Event, FunctionRef, Retries, StepError, Timeouts
from milepost.protocol import parse_duration
from milepost_engine.operations.actions import OperationError
from milepost_engine.store.events import read_events
from tests.bodies import noting

from .rig import rig, step


@pytest.mark.patient
async def test_a_sleep_of_a_month_ends_to_the_second():
    app, woke = App("a"), []

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("month", timedelta(days=2, seconds=17))
        await ctx.step.run("wake", lambda: woke.append(r.clock.now()))

    async with rig(app) as r:
        began = r.clock.now()
        await r.send("go")
        await r.wind(timedelta(days=2, seconds=10))
        assert woke == []
        await r.wind(60)
        assert woke == [began + timedelta(days=2, seconds=17)]
        assert (await r.only_run())["status"] == "Completed"


async def test_a_wait_ends_with_the_event_that_matches_and_no_other():
    app = App("a")

    @app.function(id="f", trigger=Event("order/created"))
    async def f(ctx: Context) -> int | None:
        paid = await ctx.step.wait_for_event("paid", "order/paid", timeout="1h", match="data.id")
        return paid.data["amount"] if paid else None

    async with rig(app) as r:
        for order in (1, 2):
            await r.send("order/created", {"id": order})
        await r.send("order/paid", {"id": 2, "amount": 50})
        done = {run["event"]["data"]["id"]: run for run in await r.runs()}
        assert (done[1]["status"], done[2]["status"], done[2]["output"]) == ("Running", "Completed", 50)
        assert step(done[1], "paid")["wait"]["matches_when"] == "async.data.id == 1.0"
        await r.wind(timedelta(hours=1, minutes=1))
        done = {run["event"]["data"]["id"]: run for run in await r.runs()}
        assert (done[1]["status"], done[1]["output"]) == ("Completed", None)
        assert step(done[1], "paid")["status"] == "TimedOut"


async def test_an_event_just_before_the_wait_is_found_when_the_wait_looks_back():
    app = App("a")

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> bool:
        await ctx.step.sleep("later", "10s")
        early = await ctx.step.wait_for_event("early", "early", timeout="1m", lookback="30s")
        return early is not None

    async with rig(app) as r:
        await r.send("go")
        await r.send("early")
        await r.wind(11)
        assert (await r.only_run())["output"] is True


async def test_an_event_that_lay_in_the_queue_while_a_wait_was_opened_is_found_by_its_look_back():
    app = App("a")

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> bool:
        await ctx.step.sleep("nap", "10s")
        return await ctx.step.wait_for_event("signal", "signal", timeout="1h", lookback="1m") is not None

    async with rig(app) as r:
        await r.send("go")
        await r.wind(9)
        # Received before the wait is opened …
        read = read_events({"name": "signal"}, now=r.clock.now(), random_source=r.engine.random_source)
        await r.wind(2)
        assert (await r.only_run())["status"] == "Running"
        # … and processed after it.
        await r.engine.intake.take(read.events[0])
        await r.settle()
        assert (await r.only_run())["output"] is True


async def test_a_function_invokes_another_and_gets_its_result():
    app = App("a")

    @app.function(id="child", triggers=[])
    async def child(ctx: Context) -> int:
        return await ctx.step.run("double", lambda: ctx.event.data["n"] * 2)

    @app.function(id="parent", trigger=Event("go"))
    async def parent(ctx: Context) -> int:
        return await ctx.step.invoke("call", child, {"n": 21})

    async with rig(app) as r:
        await r.send("go")
        run = await r.only_run("a-parent")
        assert (run["status"], run["output"]) == ("Completed", 42)
        called = await r.only_run("a-child")
        assert called["parent"]["run_id"] == run["run_id"]
        assert step(run, "call")["detail"]["run_id"] == called["run_id"]


async def test_a_failed_child_raises_in_its_parent():
    app = App("a")

    @app.function(id="child", triggers=[], retries=0)
    async def child(ctx: Context) -> None:
        raise ValueError("no")

    @app.function(id="parent", trigger=Event("go"))
    async def parent(ctx: Context) -> str:
        try:
            await ctx.step.invoke("call", child)
        except StepError as failed:
            return failed.message
        return "never"

    async with rig(app) as r:
        await r.send("go")
        assert (await r.only_run("a-parent"))["output"] == "no"


async def test_invoking_what_does_not_exist_says_so():
    app = App("a")

    @app.function(id="parent", trigger=Event("go"))
    async def parent(ctx: Context) -> None:
        await ctx.step.invoke("call", FunctionRef("other", "nothing"))

    async with rig(app) as r:
        await r.send("go")
        run = await r.only_run("a-parent")
        assert run["status"] == "Failed"
        assert "other-nothing" in run["error"]["message"]


async def test_one_event_starts_every_function_that_listens_once():
    app, seen = App("a"), []

    @app.function(id="exact", trigger=Event("order/created"))
    async def exact(ctx: Context) -> None:
        seen.append("exact")

    @app.function(id="any", triggers=[Event("order/*"), Event("order/created")])
    async def any_order(ctx: Context) -> None:
        seen.append("any")

    @app.function(id="large", trigger=Event("order/created", if_="event.data.total > 100"))
    async def large(ctx: Context) -> None:
        seen.append("large")

    async with rig(app) as r:
        await r.send("order/created", {"total": 5})
        assert sorted(seen) == ["any", "exact"]
        await r.send("order/created", {"total": 500})
        assert sorted(seen) == ["any", "any", "exact", "exact", "large"]


@pytest.mark.patient
async def test_the_same_event_id_starts_a_function_once_in_24_hours():
    app, seen = App("a"), []

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> None:
        seen.append(ctx.event.id)

    async with rig(app) as r:
        for _ in range(3):
            await r.send("go", id="order-7")
        assert seen == ["order-7"]
        await r.wind(timedelta(hours=24, minutes=1))
        await r.send("go", id="order-7")
        assert seen == ["order-7", "order-7"]


@pytest.mark.patient
async def test_an_event_in_the_future_starts_its_run_then():
    app, began = App("a"), []

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> None:
        began.append(r.clock.now())

    async with rig(app) as r:
        later = r.clock.now() + timedelta(hours=3)
        await r.send("go", ts=int(later.timestamp() * 1000))
        assert (await r.only_run())["status"] == "Queued"
        await r.wind(timedelta(hours=4))
        assert began == [later]


async def test_a_moment_in_microseconds_is_refused_and_one_far_ahead_is_not():
    app = App("a")

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> str | None:
        found = await ctx.step.wait_for_event("w", "y", timeout="1h")
        return f"{found.ts:%Y-%m-%d}" if found else None

    async with rig(app) as r:
        now_us = int(r.clock.now().timestamp() * 1e6)
        for ts in (now_us, float(now_us), 253_402_300_800_000):
            read = await r.engine.accept({"name": "y", "ts": ts})
            assert read.events == ()
            assert "'y'" in read.problem
            assert "microseconds?" in read.problem
        await r.send("go")
        await r.send("y", ts=253_402_300_799_999)
        assert (await r.only_run())["output"] == "9999-12-31"


@pytest.mark.patient
@pytest.mark.parametrize(("after", "status"), [("30m", "Cancelled"), ("90m", "Running")])
async def test_how_long_a_run_can_be_cancelled_counts_from_its_beginning(after: str, status: str):
    app = App("a")

    @app.function(id="f", trigger=Event("go"), cancel_on=Cancel("stop", timeout="1h"))
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("long", "3h")

    async with rig(app) as r:
        await r.send("go", ts=int((r.clock.now() + timedelta(days=2)).timestamp() * 1000))
        await r.wind(timedelta(days=2) + parse_duration(after))
        assert (await r.only_run())["status"] == "Running"
        await r.send("stop")
        assert (await r.only_run())["status"] == status


async def test_a_run_is_cancelled_by_an_event_between_its_steps():
    app, done = App("a"), []

    @app.function(id="f", trigger=Event("go"), cancel_on=[Cancel("stop", match="data.id")])
    async def f(ctx: Context) -> None:
        await ctx.step.run("one", lambda: done.append("one"))
        await ctx.step.sleep("hour", "1h")
        await ctx.step.run("two", lambda: done.append("two"))

    async with rig(app) as r:
        await r.send("go", {"id": 1})
        await r.send("stop", {"id": 2})
        assert (await r.only_run())["status"] == "Running"
        await r.send("stop", {"id": 1})
        run = await r.only_run()
        assert (run["status"], run["outcome"]) == ("Cancelled", "event")
        await r.wind(timedelta(hours=2))
        assert done == ["one"]


async def test_a_run_is_cancelled_by_hand_and_only_once():
    app = App("a")

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("hour", "1h")

    async with rig(app) as r:
        await r.send("go")
        run_id = (await r.only_run())["run_id"]
        await r.engine.operations.cancel(run_id, "changed my mind")
        await r.settle()
        assert (await r.only_run())["status"] == "Cancelled"
        with pytest.raises(OperationError, match="MP302"):
            await r.engine.operations.cancel(run_id)


async def test_a_run_that_takes_too_long_is_cancelled():
    app = App("a")

    @app.function(id="f", trigger=Event("go"), timeouts=Timeouts(finish="10m"))
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("hour", "1h")

    async with rig(app) as r:
        await r.send("go")
        await r.wind(timedelta(minutes=9))
        assert (await r.only_run())["status"] == "Running"
        await r.wind(timedelta(minutes=2))
        run = await r.only_run()
        assert (run["status"], run["outcome"]) == ("Cancelled", "finish timeout")


async def test_a_failure_handler_gets_the_error_and_the_event():
    app, received = App("a"), []

    async def notify(ctx: Context) -> None:
        received.append((ctx.event.data["error"]["message"], ctx.event.data["event"]["data"]))

    @app.function(id="f", trigger=Event("go"), retries=0, on_failure=notify)
    async def f(ctx: Context) -> None:
        raise ValueError("broken")

    async with rig(app) as r:
        await r.send("go", {"n": 1})
        assert received == [("broken", {"n": 1})]


@pytest.mark.patient
async def test_cron_starts_a_function_at_its_moments_in_its_zone():
    app, ticks = App("a"), []

    @app.function(id="daily", trigger=Cron("0 8 * * *", tz="Europe/Paris"))
    async def daily(ctx: Context) -> None:
        ticks.append(r.clock.now())

    async with rig(app, start=datetime(2026, 3, 27, 12, 0, tzinfo=UTC)) as r:
        await r.wind(timedelta(days=3))
        # Clocks went forward on 29 March 2026: 8:00 in Paris is 7:00 UTC before and 6:00 UTC after.
        assert [f"{tick:%d %H:%M}" for tick in ticks] == ["28 07:00", "29 06:00", "30 06:00"]


async def test_a_failed_run_is_replayed_once_its_cause_is_gone_and_finished_steps_are_kept():
    app, charged, down = App("a"), [], [True]

    @app.function(id="f", trigger=Event("go"), retries=0)
    async def f(ctx: Context) -> str:
        await ctx.step.run("charge", lambda: charged.append(1))

        def write() -> str:
            if down[0]:
                raise ConnectionError("down")
            return "written"

        return await ctx.step.run("write", write)

    async with rig(app) as r:
        await r.send("go", {"n": 1})
        failed = await r.only_run()
        assert failed["status"] == "Failed"
        down[0] = False
        new = await r.engine.operations.replay(failed["run_id"], from_step="write")
        await r.settle()
        run = await r.run(new.run_id)
        assert (run["status"], run["output"], run["origin_run_id"]) == ("Completed", "written", failed["run_id"])
        assert charged == [1]
        assert step(run, "charge")["kept"] is True
        assert [row["run_id"] for row in (await r.run(failed["run_id"]))["replays"]] == [new.run_id]


async def test_a_replay_may_have_other_data_and_runs_all_steps_again():
    app, seen = App("a"), []

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("see", lambda: seen.append(ctx.event.data["n"]))

    async with rig(app) as r:
        await r.send("go", {"n": 1})
        await r.engine.operations.replay((await r.only_run())["run_id"], data={"n": 2})
        await r.settle()
        assert seen == [1, 2]


async def test_a_replay_from_a_step_that_does_not_exist_names_those_that_do():
    app = App("a")

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("one", lambda: 1)

    async with rig(app) as r:
        await r.send("go")
        with pytest.raises(OperationError, match="'one'"):
            await r.engine.operations.replay((await r.only_run())["run_id"], from_step="two")


async def test_a_lost_message_is_found_by_the_sweeper():
    app, done = App("a"), []

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("one", lambda: done.append(1))

    async with rig(app) as r:
        await r.engine.accept({"name": "go"})
        # The run is created, then its message is lost.
        lost: list[str] = []

        async def lose(received) -> None:
            if '"start"' in received.body:
                lost.append(received.body)
            else:
                await r.engine.handle(received.body)

        await r.queue.drain(lose)
        assert len(lost) == 1
        assert done == []
        await r.wind(timedelta(minutes=40))
        assert done == [1]
        assert (await r.only_run())["status"] == "Completed"


async def test_a_duplicate_of_any_message_at_any_time_changes_nothing():
    app = App("a")
    bodies: list[Any] = []
    bag: list[Any] = []

    @app.function(id="f", trigger=Event("go"), retries=Retries(max_retries=2, first_delay="1s", jitter=0))
    async def f(ctx: Context) -> list[int]:
        one = await ctx.step.run("one", noting(bodies, "one", 1))
        both = await asyncio.gather(
            ctx.step.run("left", noting(bodies, "left", 2)),
            ctx.step.run("right", noting(bodies, "right", 3)),
        )
        await ctx.step.sleep("nap", "5s")
        return [one, *both]

    async with rig(app) as r:
        handle = r.engine.handle

        async def thrice(received) -> None:
            bag.append(received.body)
            for _ in range(3):
                await handle(received.body)

        r._handle = thrice  # type: ignore[method-assign]
        await r.send("go")
        await r.wind(10)
        run = await r.only_run()
        assert (run["status"], run["output"]) == ("Completed", [1, 2, 3])
        assert sorted(bodies) == ["left", "one", "right"]
        before = await r.store.table.query(f"R#{run['run_id']}")
        for body in bag:
            await handle(body)
        assert (await r.store.table.query(f"R#{run['run_id']}")).items == before.items
        assert sorted(bodies) == ["left", "one", "right"]


async def test_a_run_that_waits_for_another_names_it_while_it_runs_and_after_the_time_out():
    app = App("a")

    @app.function(id="child", triggers=[])
    async def child(ctx: Context) -> None:
        await ctx.step.sleep("hours", "3h")

    @app.function(id="parent", trigger=Event("go"))
    async def parent(ctx: Context) -> None:
        await ctx.step.invoke("ask", child, timeout="1h")

    async with rig(app) as r:
        await r.send("go")
        child_id = (await r.only_run("a-child"))["run_id"]
        asking = step(await r.only_run("a-parent"), "ask")
        assert (asking["status"], asking["invoke"]["run_id"]) == ("Invoking", child_id)
        await r.wind(timedelta(hours=1, minutes=1))
        gave_up = step(await r.only_run("a-parent"), "ask")
        assert (gave_up["ended_at"] is not None, gave_up["invoke"]["run_id"]) == (True, child_id)
