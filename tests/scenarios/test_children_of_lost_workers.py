"""A worker creates the child of an invoke and dies before it sends the child's message: the child still runs.

Redelivered, the worker's message finds the invoke timed out, or about to, or its run ended: nobody waits for the child
any more. It was created, so it is to run as it would have without the crash.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from milepost import App, Context, StepError

from .rig import Rig, rig
from .test_invokes import forget

MODES = ("step", "checkpoint")


def caller(mode: Any, ran: list[str], nap: str | None) -> App:
    app = App("a")

    @app.function(id="child")
    async def child(ctx: Context) -> None:
        await ctx.step.run("inner", ran.append, "inner")

    @app.function(id="parent", trigger="go", mode=mode)
    async def parent(ctx: Context) -> None:
        try:
            await ctx.step.invoke("call", child, {}, timeout="1m")
        except StepError:
            await ctx.step.run("late", ran.append, "late")
        if nap:
            await ctx.step.sleep("nap", nap)

    return app


async def die_before_the_child_hears(made: Rig) -> str:
    """Everything happens but that the child's message is sent; returns the message of the worker that died."""
    planned: list[str] = []

    async def handle(received: Any) -> None:
        message = json.loads(received.body)
        if message["t"] == "start" and message["fn"] == "a-parent":
            planned.append(received.body)
        if not (message["t"] == "start" and message["fn"] == "a-child"):
            await made.engine.handle(received.body)

    await made.engine.accept({"name": "go"})
    await made.queue.drain(handle)
    assert (await made.only_run("a-child"))["status"] == "Running"
    [body] = planned
    return body


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("nap", "status"), [("1h", "Running"), (None, "Completed")])
async def test_the_child_of_an_invoke_that_timed_out_meanwhile_still_runs_once(mode: str, nap: str | None, status: str):
    ran: list[str] = []
    async with rig(caller(mode, ran, nap)) as made:
        body = await die_before_the_child_hears(made)
        await made.clock.advance(61)
        await made.settle()
        assert (await made.only_run("a-parent"))["status"] == status
        assert ran == ["late"]
        for _ in range(2):
            await made.engine.handle(body, redelivered=True)
            await made.settle()
        assert (await made.only_run("a-child"))["status"] == "Completed"
        assert ran == ["late", "inner"]


@pytest.mark.parametrize("mode", MODES)
async def test_the_child_still_runs_when_the_time_out_is_due_and_not_yet_handled(mode: str):
    ran: list[str] = []
    async with rig(caller(mode, ran, None)) as made:
        body = await die_before_the_child_hears(made)
        await made.clock.advance(61)
        await made.engine.handle(body, redelivered=True)
        await made.settle()
        assert [run["status"] for run in await made.runs()] == ["Completed", "Completed"]
        assert ran.count("inner") == 1


async def test_a_child_that_may_outlive_its_cancelled_parent_still_runs():
    ran: list[str] = []
    app = App("a")

    @app.function(id="child")
    async def child(ctx: Context) -> None:
        await ctx.step.run("inner", ran.append, "inner")

    @app.function(id="parent", trigger="go")
    async def parent(ctx: Context) -> None:
        await ctx.step.invoke("call", child, {}, cancel_with_parent=False)

    async with rig(app) as made:
        body = await die_before_the_child_hears(made)
        await made.engine.operations.cancel((await made.only_run("a-parent"))["run_id"])
        await made.settle()
        await made.engine.handle(body, redelivered=True)
        await made.settle()
        assert (await made.only_run("a-child"))["status"] == "Completed"
        assert ran == ["inner"]


async def test_an_invoke_that_timed_out_before_its_child_was_created_creates_none():
    ran: list[str] = []
    async with rig(caller("step", ran, "1h")) as made:
        body = await die_before_the_child_hears(made)
        await forget(made, await made.only_run("a-child"))
        await made.clock.advance(61)
        await made.settle()
        await made.engine.handle(body, redelivered=True)
        await made.settle()
        assert await made.runs("a-child") == []
        assert ran == ["late"]
