"""The end of an invocation in the code: `finally:` runs, steps in it do not, and a caught interrupt changes nothing."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import pytest

from milepost import App, Context, Event, SyncContext

from .fake_server import FakeServer


async def test_finally_blocks_run_but_a_step_in_them_neither_runs_nor_is_reported(app: App) -> None:
    seen: list[str] = []

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        try:
            await ctx.step.sleep("nap", "1h")
        finally:
            seen.append("cleaned")
            await ctx.step.run("cleanup", seen.append, "ran")

    called = await FakeServer(app, "shop-f").call()
    assert (called.reported, seen) == (["Sleep nap"], ["cleaned"])


async def test_the_same_holds_in_sync_functions(app: App) -> None:
    seen: list[str] = []

    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> None:
        try:
            ctx.step.sleep("nap", "1h")
        finally:
            seen.append("cleaned")
            ctx.step.run("cleanup", seen.append, "ran")

    called = await FakeServer(app, "shop-f").call()
    assert (called.reported, seen) == (["Sleep nap"], ["cleaned"])


async def test_a_finally_block_may_await_its_cleanup(app: App) -> None:
    seen: list[str] = []

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        try:
            await ctx.step.sleep("nap", "1h")
        finally:
            await asyncio.sleep(0.001)
            await asyncio.to_thread(seen.append, "closed")

    await FakeServer(app, "shop-f").call()
    assert seen == ["closed"]


async def test_a_step_in_a_finally_block_runs_when_the_function_really_ends(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        try:
            await ctx.step.sleep("nap", "1h")
        finally:
            await ctx.step.run("cleanup", int)

    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.reported == [["Sleep nap"], ["StepRun cleanup", "RunComplete complete"]]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_code_that_swallows_the_interrupt_changes_nothing_and_is_warned_once(
    app: App, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    if kind == "async":

        @app.function(id="f", trigger=Event("t/a"))
        async def f(ctx: Context) -> str:
            try:
                await ctx.step.sleep("nap", "1h")
            except BaseException:  # noqa: BLE001
                return "swallowed"
            return "slept"

    else:

        @app.function(id="f", trigger=Event("t/a"))
        def g(ctx: SyncContext) -> str:
            try:
                ctx.step.sleep("nap", "1h")
            except BaseException:  # noqa: BLE001
                return "swallowed"
            return "slept"

    with caplog.at_level(logging.WARNING):
        called = await FakeServer(app, "shop-f").call()
        await FakeServer(app, "shop-f").call()
    assert called.reported == ["Sleep nap"]
    assert caplog.text.count("caught the interrupt") == 1


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_code_that_swallows_it_in_a_loop_still_gets_its_answer(
    app: App, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    if kind == "async":

        @app.function(id="f", trigger=Event("t/a"))
        async def f(ctx: Context) -> str:
            while True:
                with suppress(BaseException):
                    await ctx.step.sleep("nap", "1h")

    else:

        @app.function(id="f", trigger=Event("t/a"))
        def g(ctx: SyncContext) -> str:
            while True:
                with suppress(BaseException):
                    ctx.step.sleep("nap", "1h")

    with caplog.at_level(logging.WARNING):
        called = await asyncio.wait_for(FakeServer(app, "shop-f").call(), 8)
    assert called.reported == ["Sleep nap"]
    assert "shop-f" in caplog.text


async def test_tasks_left_behind_are_cancelled_with_the_invocation(app: App) -> None:
    ended: list[str] = []

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> str:
        async def heartbeat() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append("heartbeat")

        task = asyncio.create_task(heartbeat())
        await asyncio.sleep(0)
        assert not task.done()
        return "ended"

    called = await FakeServer(app, "shop-f").call()
    assert (called.json, ended) == ("ended", ["heartbeat"])


async def test_a_step_in_a_task_that_outlives_the_function_is_not_run_and_the_run_fails(app: App) -> None:
    ran: list[int] = []
    kept: list[asyncio.Task[None]] = []

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> str:
        kept.append(asyncio.create_task(ctx.step.run("late", ran.append, 1)))
        return "ended"

    called = await FakeServer(app, "shop-f").call()
    assert (called.json["name"], ran) == ("UnawaitedStepError", [])
