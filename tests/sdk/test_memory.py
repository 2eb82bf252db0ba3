"""The remembered steps of a run, and what happens if the code has changed since."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from milepost import App, Context, Event, SyncContext
from milepost.protocol import hash_step_id

from .fake_server import FakeServer


def one_step(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> object:
        return await ctx.step.run("a", lambda: 1)


@pytest.mark.parametrize("memo", [None, {"name": "t/b", "id": "e2", "data": {}, "ts": 1}])
async def test_a_run_step_that_was_a_sleep_or_a_wait_is_a_clear_error_and_not_retried(app: App, memo: Any) -> None:
    one_step(app)
    server = FakeServer(app, "shop-f")
    server.remember(hash_step_id("a"), memo)
    called = await server.call()
    assert called.response.status == 400
    assert called.json["code"] == "non_determinism"
    assert "'a'" in called.json["message"]
    assert "shop-f" in called.json["message"]
    assert server.run_id in called.json["message"]


async def test_a_sleep_that_was_a_run_step_is_a_clear_error(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> None:
        ctx.step.sleep("a", 1)

    server = FakeServer(app, "shop-f")
    server.remember(hash_step_id("a"), {"data": 1})
    assert (await server.call()).json["code"] == "non_determinism"


async def test_a_wait_that_was_a_run_step_is_a_clear_error(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.wait_for_event("a", "t/b", timeout=1)

    server = FakeServer(app, "shop-f")
    server.remember(hash_step_id("a"), {"data": 1})
    assert (await server.call()).json["code"] == "non_determinism"


async def test_a_remembered_step_that_is_not_reached_is_warned_about(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    one_step(app)
    server = FakeServer(app, "shop-f")
    server.remember(hash_step_id("gone"), {"data": 1})
    with caplog.at_level(logging.WARNING):
        await server.run()
    assert server.result == 1
    assert "not reached" in caplog.text
    assert "shop-f" in caplog.text


async def test_a_step_may_return_what_looks_like_a_memo(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> Any:
        return await ctx.step.run("a", lambda: {"error": {"name": "no"}, "data": 1, "name": "x"})

    server = FakeServer(app, "shop-f", milepost=None)
    await server.run()
    assert server.result == {"error": {"name": "no"}, "data": 1, "name": "x"}


async def test_a_step_may_return_none(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> Any:
        return [await ctx.step.run("a", lambda: None), await ctx.step.run("b", lambda: None)]

    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.result == [None, None]


async def test_remembered_steps_that_no_stack_mentions_are_still_replayed(app: App) -> None:
    one_step(app)
    server = FakeServer(app, "shop-f")
    server.memos[hash_step_id("a")] = {"data": "kept"}
    assert (await server.call()).json == "kept"


async def test_inserting_a_step_does_not_shift_the_others(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> Any:
        await ctx.step.run("new", int)
        return await ctx.step.run("a", lambda: 2)

    server = FakeServer(app, "shop-f")
    server.remember(hash_step_id("a"), {"data": 1})
    await server.run()
    assert server.result == 1
