"""Functions that call functions: what a child sees, when it is cancelled, and what its parent hears of its error."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from milepost import App, Cancel, Context, NonRetriableError, StepError, Timeouts
from milepost_engine.ports import Key

from .rig import Rig, rig, step

MODES = ("step", "checkpoint")


def family(*, mode: Any = "step", cancel_with_parent: bool | None = None) -> tuple[App, list[str]]:
    """A parent, its child and its grandchild, which sleeps between two steps; and the bodies that ran."""
    app, bodies = App("a"), list[str]()
    option: dict[str, Any] = {} if cancel_with_parent is None else {"cancel_with_parent": cancel_with_parent}

    @app.function(id="grandchild", mode=mode)
    async def grandchild(ctx: Context) -> str:
        await ctx.step.run("first", bodies.append, "first")
        await ctx.step.sleep("nap", "1h")
        await ctx.step.run("second", bodies.append, "second")
        return "grown"

    @app.function(id="child", mode=mode)
    async def child(ctx: Context) -> str:
        return await ctx.step.invoke("grandchild", grandchild, {}, **option)

    @app.function(id="parent", trigger="go", mode=mode, cancel_on=[Cancel("stop")], timeouts=Timeouts(finish="2d"))
    async def parent(ctx: Context) -> str:
        return await ctx.step.invoke("child", child, {}, **option)

    return app, bodies


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", ["api", "event"])
async def test_a_cancelled_run_takes_the_runs_that_it_waits_for_along(mode: str, how: str):
    app, bodies = family(mode=mode)
    async with rig(app) as r:
        await r.send("go")
        parent = await r.only_run("a-parent")
        await r.wind(60)
        if how == "api":
            await r.engine.operations.cancel(parent["run_id"])
            await r.settle()
        else:
            await r.send("stop")
        found = {run["function_id"]: run for run in await r.runs()}
        assert {name: run["status"] for name, run in found.items()} == {
            "a-parent": "Cancelled",
            "a-child": "Cancelled",
            "a-grandchild": "Cancelled",
        }
        assert found["a-child"]["outcome"] == found["a-grandchild"]["outcome"] == "parent"
        await r.wind(timedelta(hours=3))
        assert bodies == ["first"]


async def test_a_time_limit_of_a_run_ends_the_runs_that_it_waits_for():
    app, bodies = App("a"), list[str]()

    @app.function(id="child")
    async def child(ctx: Context) -> None:
        await ctx.step.sleep("nap", "2h")
        await ctx.step.run("late", bodies.append, "late")

    @app.function(id="parent", trigger="go", timeouts=Timeouts(finish="1h"))
    async def parent(ctx: Context) -> None:
        await ctx.step.invoke("child", child, {})

    async with rig(app) as r:
        await r.send("go")
        await r.wind(timedelta(hours=4))
        assert [run["status"] for run in await r.runs()] == ["Cancelled", "Cancelled"]
        assert bodies == []


async def test_a_child_may_outlive_its_cancelled_parent():
    app, bodies = family(cancel_with_parent=False)
    async with rig(app) as r:
        await r.send("go")
        await r.send("stop")
        await r.wind(timedelta(hours=3))
        found = {run["function_id"]: run["status"] for run in await r.runs()}
        assert found == {"a-parent": "Cancelled", "a-child": "Completed", "a-grandchild": "Completed"}
        assert bodies == ["first", "second"]


async def test_a_child_that_is_created_after_its_parent_was_cancelled_never_starts():
    """The worker that planned the invoke is slow: the cancellation comes between its plan and the child."""
    app, bodies = family()
    async with rig(app) as r:
        await cancel_before_the_child_is_created(r)
        bodies.clear()
        await r.settle()
        [child] = await r.runs("a-child")
        assert (child["status"], child["outcome"], bodies) == ("Cancelled", "parent", [])


async def test_the_sweeper_does_not_start_a_child_whose_parent_was_cancelled():
    app, bodies = family()
    async with rig(app) as r:
        await cancel_before_the_child_is_created(r)
        bodies.clear()
        await r.queue.drain(lost)
        await r.wind(timedelta(hours=2))
        [child] = await r.runs("a-child")
        assert (child["status"], child["outcome"], bodies) == ("Cancelled", "parent", [])


async def cancel_before_the_child_is_created(r: Rig) -> None:
    """Its parent has planned the invoke and is cancelled; only then a slow worker creates the child."""
    await r.send("go")
    parent = await r.only_run("a-parent")
    before = await r.engine.runs.load(parent["run_id"], "a-parent")
    assert before is not None
    [op] = before.open_ops
    await r.send("stop")
    [child] = await r.runs("a-child")
    await forget(r, child)
    await r.engine.orchestrator.acting.endings.invoke(before, op)


async def lost(_: object) -> None:
    """Takes a message and forgets it."""


async def forget(r: Rig, run: dict) -> None:
    """Make a run one that was never created."""
    known = await r.engine.runs.load(run["run_id"], run["function_id"])
    assert known is not None
    for key in (*await r.engine.runs.record_keys(known), Key(f"F#{run['function_id']}", run["run_id"])):
        await r.store.table.delete(key)


@pytest.mark.parametrize("mode", MODES)
async def test_an_invoke_without_time_starts_nothing(mode: Any):
    app, bodies = App("a"), list[str]()

    @app.function(id="child")
    async def child(ctx: Context) -> None:
        bodies.append("child")

    @app.function(id="parent", trigger="go", mode=mode)
    async def parent(ctx: Context) -> str:
        try:
            await ctx.step.invoke("child", child, {}, timeout=0)
        except StepError as error:
            return error.name
        return "no error"

    async with rig(app) as r:
        await r.send("go")
        await r.wind(60)
        assert (await r.only_run())["output"] == "InngestInvokeTimeoutError"
        assert bodies == []


@pytest.mark.parametrize("sent", [True, False])
async def test_a_wait_without_time_takes_what_was_received_before_or_nothing(*, sent: bool):
    app = App("a")

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> object:
        found = await ctx.step.wait_for_event("paid", "paid", timeout=0, lookback="1h")
        return found and found.data["n"]

    async with rig(app) as r:
        if sent:
            await r.send("paid", {"n": 7})
        await r.wind(60)
        await r.send("go")
        await r.wind(timedelta(minutes=3))
        assert (await r.only_run())["output"] == (7 if sent else None)


async def test_a_child_sees_the_data_that_it_was_given_and_no_more():
    app = App("a")

    @app.function(id="child")
    async def child(ctx: Context) -> object:
        return ctx.event.data

    @app.function(id="parent", trigger="go")
    async def parent(ctx: Context) -> object:
        return await ctx.step.invoke("child", child, {"n": 1})

    async with rig(app) as r:
        await r.send("go")
        assert (await r.only_run("a-parent"))["output"] == {"n": 1}
        assert (await r.only_run("a-child"))["event"]["data"] == {"n": 1}


def refuse() -> None:
    try:
        int("x")
    except ValueError as error:
        raise NonRetriableError("no", data={"why": 2}) from error


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("where", ["in the function", "in a step"])
async def test_the_error_of_a_child_reaches_its_parent_whole(mode: Any, where: str):
    app = App("a")

    @app.function(id="child", mode=mode, retries=0)
    async def child(ctx: Context) -> None:
        if where == "in a step":
            await ctx.step.run("refuse", refuse)
        refuse()

    @app.function(id="parent", trigger="go", mode=mode, retries=0)
    async def parent(ctx: Context) -> object:
        try:
            await ctx.step.invoke("child", child, {})
        except StepError as error:
            cause = error.cause.name if error.cause else None
            return [error.name, error.message, error.data, cause, "in refuse" in error.stack]
        return None

    async with rig(app) as r:
        await r.send("go")
        run = await r.only_run("a-parent")
        assert run["output"] == ["NonRetriableError", "no", {"why": 2}, "ValueError", True]
        assert step(run, "child")["error"]["data"] == {"why": 2}
