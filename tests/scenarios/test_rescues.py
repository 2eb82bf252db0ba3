"""The sweeper finds what cannot be prevented: a message lost for good, while clocks are wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from milepost import App, Cancel, Context, Event
from milepost_engine.ports import Key
from tests.bodies import noting

from .rig import Rig, rig


def two_branches(bodies: list[str]) -> App:
    app = App("a")

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> list[int]:
        both = await asyncio.gather(
            ctx.step.run("left", noting(bodies, "left", 1)),
            ctx.step.run("right", noting(bodies, "right", 2)),
        )
        return list(both)

    return app


def losing(made: Rig, word: str) -> Callable[[Any], Awaitable[None]]:
    """A consumer that loses the first message with a word in it."""
    lost: list[str] = []

    async def handle(received: Any) -> None:
        if word in received.body and not lost:
            lost.append(received.body)
        else:
            await made.engine.handle(received.body)

    return handle


async def test_a_lost_branch_is_found_although_the_clock_of_user_code_is_months_ahead():
    """The rig's clock is wound to March; the SDK reports when bodies ran by the clock of the machine."""
    bodies: list[str] = []
    async with rig(two_branches(bodies)) as made:
        await made.engine.accept({"name": "go"})
        await made.queue.drain(losing(made, '"job":'))
        assert len(bodies) == 1
        await made.wind(timedelta(minutes=50))
        assert sorted(bodies) == ["left", "right"]
        run = await made.only_run()
        assert (run["status"], run["output"]) == ("Completed", [1, 2])


async def test_a_run_is_found_although_the_first_tick_of_all_comes_an_hour_late():
    bodies: list[str] = []
    async with rig(two_branches(bodies)) as made:
        await made.engine.accept({"name": "go"})
        await made.queue.drain(losing(made, '"start"'))
        await made.clock.advance(3600)
        await made.wind(timedelta(minutes=5))
        assert (await made.only_run())["status"] == "Completed"


async def test_a_timer_is_moved_although_its_minute_passed_before_the_first_tick():
    app = App("a")

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> str:
        await ctx.step.sleep("nap", "20m")
        return "awake"

    async with rig(app) as made:
        await made.send("go")
        await made.clock.advance(40 * 60)
        await made.wind(timedelta(seconds=1))
        assert (await made.only_run())["output"] == "awake"


def stoppable() -> App:
    app = App("a")

    @app.function(id="f", trigger=Event("go"), cancel_on=[Cancel("stop", match="data.n")])
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("nap", "1h")

    return app


async def test_a_cancelling_event_that_overtakes_the_event_it_is_about_still_cancels():
    async with rig(stoppable()) as made:
        await made.engine.accept({"name": "go", "data": {"n": 1}})
        held: list[str] = []

        async def hold(received: Any) -> None:
            held.append(received.body)

        await made.queue.drain(hold)
        await made.send("stop", {"n": 2})
        await made.send("stop", {"n": 1})
        await made.engine.handle(held[0])
        await made.settle()
        assert (await made.only_run())["status"] == "Cancelled"


async def test_a_late_duplicate_of_the_starting_event_does_not_forget_a_cancellation_on_its_way():
    async with rig(stoppable()) as made:
        began: list[str] = []

        async def keep(received: Any) -> None:
            began.append(received.body)
            await made.engine.handle(received.body)

        await made.engine.accept({"name": "go", "data": {"n": 1}})
        await made.queue.drain(keep)
        await made.clock.advance(5)
        await made.engine.accept({"name": "stop", "data": {"n": 1}})
        await made.clock.advance(5)
        await made.engine.handle(began[0])
        await made.settle()
        assert (await made.only_run())["status"] == "Cancelled"


async def test_a_wait_that_was_planned_but_never_opened_is_opened_by_the_sweeper():
    """Its worker saved the plan and died, and a duplicate of its message was finished with."""
    app = App("a")

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> bool:
        return await ctx.step.wait_for_event("signal", "signal", timeout="30d") is not None

    async with rig(app) as made:
        await made.send("go")
        run_id = (await made.only_run())["run_id"]
        page = await made.store.table.query("W#signal#-")
        for item in page.items:
            await made.store.table.delete(Key(str(item["pk"]), str(item["sk"])))
        await made.wind(timedelta(minutes=50))
        await made.send("signal")
        run = await made.run(run_id)
        assert (run["status"], run["output"]) == ("Completed", True)


async def test_a_parent_whose_childs_answer_was_lost_for_good_is_notified_again():
    app = App("a")

    @app.function(id="child", triggers=[])
    async def child(ctx: Context) -> int:
        return await ctx.step.run("one", lambda: 5)

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> int:
        return await ctx.step.invoke("call", child)

    async with rig(app) as made:
        await made.engine.accept({"name": "go"})
        await made.queue.drain(losing(made, '"t":"child"'))
        await made.wind(timedelta(minutes=50))
        run = await made.only_run("a-f")
        assert (run["status"], run["output"]) == ("Completed", 5)
