"""A month through minutes' buckets and queue delays of at most 15 minutes; and what expires by retention."""

from datetime import timedelta

from milepost import App, Context, Cron, Event
from milepost_engine.ports import Item
from milepost_engine.store.messages import TIMER_SHARDS

from .rig import START, Rig, rig


async def leap(made: Rig, span: timedelta) -> None:
    """Let time pass in which every tick finds its minutes empty; the last quarter of an hour is left to tick."""
    await made.engine.timers.tick()
    await made.clock.advance_to(made.clock.now() + span - timedelta(minutes=15))
    # Where the ticks between would have left it.
    item: Item = {"pk": "CLOCK", "sk": "timers", "at": int(made.clock.now().timestamp()) // 60 - 1}
    await made.store.table.put(item)


async def test_a_sleep_of_a_month_ends_to_the_second_through_buckets_and_queue_delays():
    app, woken = App("a"), []

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("month", timedelta(days=30, seconds=17))
        await ctx.step.run("wake", lambda: woken.append(1))

    async with rig(app) as made:
        await made.send("go")
        await leap(made, timedelta(days=30))
        await made.wind(timedelta(minutes=15, seconds=16))
        assert woken == []
        await made.wind(timedelta(seconds=1))
        assert woken == [1]
        assert (await made.only_run())["ended_at"] == "2026-04-01T09:00:17.000Z"


async def test_a_sleeping_run_and_its_event_outlive_their_retention():
    app = App("a")

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> str:
        kept = await ctx.step.run("before", lambda: "kept")
        await ctx.step.sleep("long", timedelta(days=90))
        return f"{kept}, {ctx.event.data['n']}"

    async with rig(app) as made:
        await made.send("go", {"n": 7})
        await leap(made, timedelta(days=90))
        await made.wind(timedelta(minutes=16))
        assert (await made.only_run())["output"] == "kept, 7"


async def test_an_ended_run_and_its_event_are_gone_after_their_retention():
    app = App("a")

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> str:
        return await ctx.step.run("one", lambda: "done")

    async with rig(app) as made:
        event_id = await made.send("go")
        run_id = (await made.only_run())["run_id"]
        await made.clock.advance_to(START + timedelta(days=30, hours=23))
        assert await made.engine.runs.load(run_id) is not None
        await made.clock.advance_to(START + timedelta(days=31, seconds=1))
        made.engine.events.forget(event_id)
        assert await made.runs() == []
        assert await made.engine.runs.load(run_id) is None
        assert await made.engine.events.load(event_id) is None


async def test_every_item_of_a_run_its_event_its_timers_and_waits_has_its_time_to_live():
    app = App("a")

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("one", lambda: 1)
        await ctx.step.wait_for_event("signal", "signal", timeout="1h")

    async with rig(app) as made:
        event_id = await made.send("go", {"n": 1})
        run_id = (await made.only_run())["run_id"]
        minute = int((START + timedelta(hours=1)).timestamp()) // 60
        partitions = [
            "F#a-f",
            f"R#{run_id}",
            f"E#{event_id}",
            "W#signal#-",
            *(f"T#{minute}#{shard}" for shard in range(TIMER_SHARDS)),
        ]
        items = [item for partition in partitions for item in (await made.store.table.query(partition)).items]
        kinds = sorted(str(item["pk"])[0] + str(item["sk"])[0] for item in items)
        assert kinds == ["EE", "F0", "RP", "RS", "T0", "W0"]
        lived = {int(item["expires_at"]) - int(START.timestamp()) for item in items}
        assert min(lived) >= 3600
        assert max(lived) <= 31 * 86_400


async def test_a_cron_line_starts_its_function_each_minute_once_even_when_ticks_come_twice():
    app, moments = App("a"), []

    @app.function(id="f", trigger=Cron("*/2 * * * *"))
    async def f(ctx: Context) -> None:
        moments.append(ctx.event.data["scheduledAt"])

    async with rig(app) as made:
        for _ in range(8):
            await made.engine.timers.tick()
            await made.engine.timers.tick()
            await made.wind(timedelta(minutes=1))
        assert moments == [f"2026-03-02T09:0{minute}:00Z" for minute in (2, 4, 6, 8)]
