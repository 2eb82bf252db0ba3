"""Calls for one planned step."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

import pytest

from milepost import App, Context, Event, SyncContext
from milepost._replay.branches import Branch
from milepost.protocol import hash_step_id

from .fake_server import FakeServer


async def test_a_call_for_one_step_runs_that_step_alone(app: App) -> None:
    ran: list[str] = []

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await asyncio.gather(*(ctx.step.run(n, ran.append, n) for n in "abc"))

    called = await FakeServer(app, "shop-f").call(hash_step_id("b"))
    assert (called.reported, ran) == (["StepRun b"], ["b"])


async def test_a_call_for_one_step_of_a_sync_function_runs_that_step_alone(app: App) -> None:
    ran: list[str] = []

    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> None:
        ctx.step.parallel([partial(ctx.step.run, n, ran.append, n) for n in "abc"])

    third = hash_step_id("c", Branch("/2").use("c"))
    called = await FakeServer(app, "shop-f").call(third)
    assert (called.reported, ran) == (["StepRun c"], ["c"])


async def test_a_planned_loser_is_run_even_if_the_race_is_already_won(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> str:
        tasks = [asyncio.ensure_future(ctx.step.run(n, str.upper, n)) for n in "ab"]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()

    server = FakeServer(app, "shop-f")
    server.remember(hash_step_id("a"), {"data": "A"})
    assert (await server.call(hash_step_id("b"))).reported == ["StepRun b"]


async def test_a_planned_step_behind_io_of_the_functions_own_is_waited_for(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        async def slow() -> None:
            await asyncio.to_thread(int)
            await asyncio.sleep(0.02)
            await ctx.step.run("slow", int)

        await asyncio.gather(ctx.step.run("quick", int), slow())

    planned = hash_step_id("slow", Branch("/tests0").use("slow"))
    assert (await FakeServer(app, "shop-f").call(planned)).reported == ["StepRun slow"]


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_planned_step_that_is_gone_gives_what_was_found_and_a_warning(
    app: App, caplog: pytest.LogCaptureFixture, *, is_async: bool
) -> None:
    if is_async:

        @app.function(id="f", trigger=Event("t/a"))
        async def f(ctx: Context) -> None:
            await ctx.step.run("new", int)

    else:

        @app.function(id="f", trigger=Event("t/a"))
        def g(ctx: SyncContext) -> None:
            ctx.step.run("new", int)

    with caplog.at_level(logging.WARNING):
        called = await FakeServer(app, "shop-f").call(hash_step_id("old"))
    assert called.reported == ["StepPlanned new"]
    assert "no longer reached" in caplog.text
    assert "shop-f" in caplog.text


async def test_a_planned_step_that_is_gone_gives_the_result_of_a_function_that_ends(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> str:
        return "ended"

    with caplog.at_level(logging.WARNING):
        called = await FakeServer(app, "shop-f").call(hash_step_id("old"))
    assert (called.response.status, called.json) == (200, "ended")
    assert "before it reached the planned step" in caplog.text


async def test_a_late_repetition_of_a_call_for_a_finished_step_does_nothing(app: App) -> None:
    ran: list[int] = []

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("a", ran.append, 1)

    server = FakeServer(app, "shop-f")
    server.remember(hash_step_id("a"), {"data": None})
    called = await server.call(hash_step_id("a"))
    assert (called.response.status, called.ops, ran) == (206, [], [])
