"""Which events a wait takes: later ones that it has not had, whatever the clocks say."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from milepost import App, Cancel, Context, Cron
from milepost_engine.adapters.clock import WoundClock
from milepost_engine.store.events import Event, read_events

from .rig import START, Rig, rig

HOUR = timedelta(hours=1)


class Corrected(WoundClock):
    """A clock that is set to another time, as a restarted process may find it."""

    def correct(self, moment: datetime) -> None:
        self._now = moment


def waiting() -> App:
    app = App("a")

    @app.function(id="f", trigger="go", cancel_on=Cancel("stop"))
    async def f(ctx: Context) -> bool:
        await ctx.step.sleep("nap", "10s")
        return await ctx.step.wait_for_event("w", "y", timeout="10h") is not None

    return app


def received(r: Rig, name: str, at: datetime) -> Event:
    return read_events({"name": name}, now=at, random_source=r.engine.random_source).events[0]


async def test_an_event_ends_one_of_several_waits_in_a_row():
    app = App("a")

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> list[int]:
        found = [await ctx.step.wait_for_event("w", "y", timeout="10h") for _ in range(3)]
        return [event.data["n"] for event in found if event]

    async with rig(app) as r:
        await r.send("go")
        for n in range(3):
            assert (await r.only_run())["status"] == "Running"
            event_id = await r.send("y", {"n": n})
            # Its message comes once more.
            event = await r.engine.events.load(event_id)
            assert event is not None
            await r.engine.intake.take(event, redelivered=True)
            await r.settle()
        assert (await r.only_run())["output"] == [0, 1, 2]


async def test_an_event_ends_all_waits_that_are_open_at_the_same_time():
    app = App("a")

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> list[str]:
        waits = [ctx.step.wait_for_event(name, "y", timeout="10h") for name in ("left", "right")]
        return [event.id for event in await asyncio.gather(*waits) if event]

    async with rig(app) as r:
        await r.send("go")
        await r.send("y", id="once")
        assert (await r.only_run())["output"] == ["once", "once"]


@pytest.mark.parametrize("names", [("y", "y", "y"), ("first", "second", "third")])
async def test_waits_that_look_back_get_one_event_after_the_other(names: tuple[str, ...]):
    app = App("a")

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> list[str]:
        found = [await ctx.step.wait_for_event(name, "y", timeout="10h", lookback="1h") for name in names]
        return [event.id for event in found if event]

    async with rig(app) as r:
        await r.send("y", id="before")
        await r.wind(1)
        await r.send("y", id="before, too")
        await r.send("go")
        assert (await r.only_run())["status"] == "Running"
        await r.send("y", id="before")  # sent once more
        await r.wind(10)
        assert (await r.only_run())["status"] == "Running"
        await r.send("y", id="after")
        assert (await r.only_run())["output"] == ["before", "before, too", "after"]


async def test_a_loop_that_looks_back_gets_what_was_received_between_its_waits_and_ends():
    app = App("a")

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> list[object]:
        found: list[object] = []
        while event := await ctx.step.wait_for_event("y", "y", timeout="1h", lookback="10m"):
            found.append(event.data["n"])
            await ctx.step.sleep("work", "5m")
        return found

    async with rig(app) as r:
        await r.send("y", {"n": 1})
        await r.wind(1)
        await r.send("y", {"n": 2})
        await r.send("go")
        await r.wind(60)
        await r.send("y", {"n": 3})  # while it sleeps
        await r.wind(3 * 3600)
        run = await r.only_run()
        assert (run["status"], run["output"]) == ("Completed", [1, 2, 3])


@pytest.mark.parametrize(("name", "status"), [("y", "Completed"), ("stop", "Cancelled")])
async def test_an_event_counts_when_the_clock_was_set_back_after_the_wait_was_opened(name: str, status: str):
    clock = Corrected(START)
    async with rig(waiting(), clock=clock) as r:
        await r.send("go")
        await r.wind(11)
        clock.correct(START - HOUR)
        await r.send(name)
        assert (await r.only_run())["status"] == status


async def test_an_event_counts_when_the_clock_of_who_accepted_it_is_behind_that_of_who_opened_the_wait():
    async with rig(waiting()) as r:
        await r.send("go")
        await r.wind(20)
        await r.engine.intake.take(received(r, "y", r.clock.now() - HOUR))
        await r.settle()
        assert (await r.only_run())["status"] == "Completed"


async def test_an_event_received_just_before_the_wait_and_processed_after_it_does_not_end_it():
    async with rig(waiting()) as r:
        await r.send("go")
        await r.wind(9)
        early = received(r, "y", r.clock.now())
        await r.wind(2)
        await r.engine.intake.take(early)
        await r.settle()
        assert (await r.only_run())["status"] == "Running"
        await r.send("y")
        assert (await r.only_run())["status"] == "Completed"


async def test_an_event_from_before_the_wait_that_is_processed_again_much_later_does_not_end_it():
    async with rig(waiting()) as r:
        await r.send("go")
        early = received(r, "y", r.clock.now())
        await r.engine.intake.take(early)
        await r.wind(timedelta(minutes=30))
        await r.engine.intake.take(early, redelivered=True)
        await r.settle()
        assert (await r.only_run())["status"] == "Running"


async def test_of_events_that_cancel_the_runs_of_earlier_ones_the_latest_survives_a_backlog():
    app = App("a")

    @app.function(id="f", trigger="update", cancel_on=Cancel("update"))
    async def f(ctx: Context) -> str:
        await ctx.step.sleep("quiet", "10s")
        return ctx.event.id

    async with rig(app) as r:
        first = received(r, "update", r.clock.now())
        await r.wind(1)
        second = received(r, "update", r.clock.now())
        await r.wind(timedelta(minutes=10))
        for event in (second, first):
            await r.engine.intake.take(event)
        await r.wind(11)
        ended = {run["event"]["id"]: run["status"] for run in await r.runs()}
        assert ended == {first.event_id: "Cancelled", second.event_id: "Completed"}


async def test_a_cron_line_continues_when_the_clock_that_armed_it_is_put_right():
    app, ticks, clock = App("a"), list[datetime](), Corrected(START)

    @app.function(id="f", trigger=Cron("0 * * * *"))
    async def f(ctx: Context) -> None:
        assert ctx.cron is not None
        ticks.append(ctx.cron.scheduled_at)

    async with rig(app, clock=clock) as r:
        clock.correct(START + timedelta(days=1))  # a day ahead
        await r.wind(60)
        clock.correct(START)
        await r.wind(timedelta(hours=2, minutes=30))
        assert ticks[-2:] == [START + HOUR, START + 2 * HOUR]
        assert len(ticks) == len(set(ticks))
