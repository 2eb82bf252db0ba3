"""Lists of runs and events are read from the items themselves: nothing is listed twice, nothing is left out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from milepost import App, Context, Cron, Event
from milepost_engine.core.run import Run, RunStatus
from milepost_engine.ports import Target
from milepost_engine.store.registry import Registry

from .rig import START, Rig, rig


def shop() -> App:
    app = App("a")

    @app.function(id="one", triggers=[Event("order"), Event("parcel")])
    async def one(ctx: Context) -> None: ...

    @app.function(id="two", trigger=Event("order", if_="event.data.n < 100"), idempotency="event.data.n")
    async def two(ctx: Context) -> None: ...

    return app


async def listed(made: Rig, *names: str, limit: int = 50, scan_limit: int = 20_000) -> list[tuple[str, str]]:
    """Names and ids of all events, page by page."""
    found: list[tuple[str, str]] = []
    after = ""
    while True:
        page: Any = await made.engine.queries.list_events(names=names, limit=limit, after=after, scan_limit=scan_limit)
        found += [(row["name"], row["event_id"]) for row in page["events"]]
        assert len(page["events"]) <= limit
        after = page["next"]
        if not after:
            return found


async def test_an_event_is_listed_once_whatever_it_started():
    async with rig(shop()) as made:
        both = await made.send("order", {"n": 1})
        await made.wind(1)
        first_only = await made.send("order", {"n": 100})
        await made.wind(1)
        none = await made.send("stranger")
        await made.wind(1)
        again = await made.send("order", {"n": 1})
        newest_first = [("order", again), ("stranger", none), ("order", first_only), ("order", both)]
        assert await listed(made) == newest_first
        assert await listed(made, "order") == [row for row in newest_first if row[0] == "order"]
        assert await listed(made, "stranger") == [("stranger", none)]
        assert await listed(made, "parcel") == []


async def test_pages_of_events_of_one_moment_have_each_event_once():
    async with rig(shop()) as made:
        await made.engine.accept([{"name": name, "data": {"n": n}} for n in range(12) for name in ("order", "x")])
        await made.settle()
        everything = await listed(made)
        assert len(everything) == 24
        assert len(set(everything)) == 24
        for limit in (1, 5, 23, 24):
            assert await listed(made, limit=limit) == everything
        assert len(await listed(made, "order", limit=5)) == 12


async def test_a_replay_lists_its_event_no_second_time_but_an_edited_one_is_an_event_of_its_own():
    async with rig(shop()) as made:
        event_id = await made.send("parcel", {"n": 1})
        run_id = (await made.only_run())["run_id"]
        await made.wind(5)
        await made.engine.operations.replay(run_id)
        await made.settle()
        assert await listed(made) == [("parcel", event_id)]
        edited = await made.engine.operations.replay(run_id, data={"n": 2})
        await made.settle()
        assert await listed(made) == [("parcel", edited.event_ids[0]), ("parcel", event_id)]


async def test_ticks_and_invokes_are_listed_once():
    app = App("a")

    @app.function(id="parent", trigger=Cron("0 * * * *"))
    async def parent(ctx: Context) -> None:
        await ctx.step.invoke("ask", child)

    @app.function(id="child", triggers=[])
    async def child(ctx: Context) -> None: ...

    async with rig(app) as made:
        await made.wind(timedelta(minutes=61))
        assert len(await made.runs()) == 2
        assert sorted(name for name, _ in await listed(made)) == ["inngest/function.invoked", "inngest/scheduled.timer"]


async def test_an_event_that_was_erased_is_listed_no_more_though_its_run_names_it():
    async with rig(shop()) as made:
        event_id = await made.send("parcel")
        kept = await made.send("parcel")
        await made.engine.operations.erase_event(event_id)
        assert len(await made.runs()) == 2
        assert await listed(made) == [("parcel", kept)]


async def test_a_wait_that_looks_back_finds_events_whether_they_started_a_run_or_not():
    app = App("a")

    @app.function(id="other", trigger=Event("paid/*"))
    async def other(ctx: Context) -> None: ...

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> list[object]:
        found: list[object] = []
        for name in ("paid/card", "lonely"):
            event = await ctx.step.wait_for_event(name, name, timeout="1h", lookback="1m")
            found.append(event.data if event else None)
        return found

    async with rig(app) as made:
        await made.send("paid/card", {"n": "too early"})
        await made.wind(50)
        for name in ("paid/card", "paid/cash", "lonely"):
            await made.send(name, {"n": name})
        await made.wind(20)
        await made.send("go")
        assert (await made.only_run("a-f"))["output"] == [{"n": "paid/card"}, {"n": "lonely"}]


async def test_a_rare_event_is_found_behind_more_runs_of_others_than_one_answer_looks_at():
    async with rig(shop()) as made:
        rare = await made.send("parcel")
        for _ in range(20):
            await made.wind(1)
            await made.send("order", {"n": 100})
        assert await listed(made, "parcel", scan_limit=5) == [("parcel", rare)]


async def test_a_run_of_a_function_that_was_registered_elsewhere_just_now_is_found_by_its_id():
    added, run_id = App("new"), "01JN0000000000000000000001"

    @added.function(id="f", triggers=[])
    async def f(ctx: Context) -> None: ...

    async with rig(shop()) as made:
        await made.runs()  # what this engine knows of functions is fresh, and without the new one
        elsewhere = Registry(made.store.table, made.engine.values, made.clock)
        await elsewhere.sync(added.manifest("http://local/new"), Target("inprocess", "new"))
        await made.engine.runs.create(Run(run_id, "new", "new-f", RunStatus.RUNNING, ("E",), "go", START))
        found = await made.engine.queries.run(run_id)
        assert found is not None
        assert found["function_id"] == "new-f"
        assert await made.engine.queries.run("01JN0000000000000000000002") is None
