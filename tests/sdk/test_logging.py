"""`ctx.logger` writes each line once, however often history is replayed."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from milepost import App, Context, Event, SyncContext
from milepost.serving import log_origin

from .fake_server import FakeServer


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.INFO)

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "milepost.shop"]

    return lines


async def test_each_line_of_a_sequential_run_appears_once(app: App, lines: Any) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        ctx.logger.info("start")
        await ctx.step.run("a", ctx.logger.info, "in a")
        ctx.logger.info("after a")
        await ctx.step.sleep("nap", 1)
        ctx.logger.info("after nap")
        await ctx.step.run("b", ctx.logger.info, "in b")
        ctx.logger.info("after b")
        await ctx.step.run("c", ctx.logger.info, "in c")
        ctx.logger.info("end")

    await FakeServer(app, "shop-f").run()
    assert lines() == ["start", "in a", "after a", "after nap", "in b", "after b", "in c", "end"]


async def test_the_same_holds_in_sync_functions_and_with_another_server(app: App, lines: Any) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> None:
        ctx.logger.info("start")
        ctx.step.run("a", int)
        ctx.logger.info("after a")
        ctx.step.run("b", int)
        ctx.logger.info("end")

    await FakeServer(app, "shop-f", milepost=None).run()
    assert lines() == ["start", "after a", "end"]


async def test_each_line_around_parallel_steps_appears_once(app: App, lines: Any) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        ctx.logger.info("start")
        await ctx.step.run("first", int)
        ctx.logger.info("fork")
        await asyncio.gather(*(ctx.step.run(n, ctx.logger.info, f"in {n}") for n in "ab"))
        ctx.logger.info("joined")

    await FakeServer(app, "shop-f").run()
    assert lines() == ["start", "fork", "in a", "in b", "joined"]


async def test_each_line_in_checkpoint_mode_appears_once(app: App, lines: Any) -> None:
    @app.function(id="f", trigger=Event("t/a"), mode="checkpoint")
    async def f(ctx: Context) -> None:
        for name in "ab":
            ctx.logger.info("before %s", name)
            await ctx.step.run(name, int)
        ctx.logger.info("end")

    server = FakeServer(app, "shop-f")
    server.checkpointer = server
    await server.run()
    assert lines() == ["before a", "before b", "end"]


async def test_the_line_before_an_error_is_written_in_each_attempt(app: App, lines: Any) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("a", int)
        ctx.logger.info("trying")
        raise OSError("down")

    await FakeServer(app, "shop-f", max_attempts=2).run()
    assert lines() == ["trying", "trying"]


async def test_a_line_carries_the_ids_of_the_run_and_where_it_was_written(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        ctx.logger.warning("hello", extra={"order_id": 7})

    await FakeServer(app, "shop-f").call(attempt=1)
    record: Any = caplog.records[0]
    assert (record.function_id, record.attempt, record.order_id) == ("shop-f", 1, 7)
    assert record.run_id
    assert record.filename == "test_logging.py"


async def test_the_level_of_the_apps_logger_holds(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("quiet")
    logger.setLevel(logging.ERROR)
    app = App("shop", logger=logger)

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        ctx.logger.warning("no")
        ctx.logger.error("yes")
        assert not ctx.logger.isEnabledFor(logging.INFO)

    await FakeServer(app, "shop-f").call()
    assert caplog.messages == ["yes"]


async def test_a_line_of_a_step_carries_its_name_and_its_own_attempt(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    @app.function(id="f", trigger=Event("t/a"), mode="checkpoint")
    async def f(ctx: Context) -> None:
        await ctx.step.run("a", ctx.logger.warning, "in a")
        await ctx.step.run("b", ctx.logger.warning, "in b")
        ctx.logger.warning("after b", extra={"step": "mine"})

    server = FakeServer(app, "shop-f")
    server.checkpointer = server
    await server.call(attempt=2)
    logged = [(record.getMessage(), record.__dict__["step"], record.__dict__["attempt"]) for record in caplog.records]
    # The second step began its own first attempt in the call that was the third of the first.
    assert logged == [("in a", "a", 2), ("in b", "b", 0), ("after b", "mine", 2)]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_code_that_knows_nothing_of_runs_can_be_placed_in_one(app: App, kind: str) -> None:
    places: list[dict[str, object]] = []

    def deep_inside() -> None:
        places.append(log_origin())

    if kind == "async":

        @app.function(id="f", trigger=Event("t/a"))
        async def f(ctx: Context) -> None:
            deep_inside()
            await ctx.step.run("thread", asyncio.to_thread, deep_inside)

    else:

        @app.function(id="f", trigger=Event("t/a"))
        def g(ctx: SyncContext) -> None:
            deep_inside()
            ctx.step.parallel((lambda: ctx.step.run("branch", deep_inside), lambda: ctx.step.run("other", int)))

    await FakeServer(app, "shop-f").run()
    assert {(place["function_id"], place.get("step")) for place in places} == {
        ("shop-f", None),
        ("shop-f", "thread" if kind == "async" else "branch"),
    }
    assert log_origin() == {}
