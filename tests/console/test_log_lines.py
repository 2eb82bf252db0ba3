"""`ctx.logger` writes each line of a run once: in parallel branches, before a step that fails, in both modes."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

import pytest

from milepost import App, Context, Event, SyncContext
from milepost.testing import Harness


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.INFO)
    return lambda: Counter(record.getMessage() for record in caplog.records if record.name == "milepost.lg")


async def ran(app: App) -> dict[str, Any]:
    async with Harness(app) as h:
        await h.send("go")
        await h.advance("1h")
        run = await h.only_run()
        return dict(run)


MODES = pytest.mark.parametrize("mode", ["step", "checkpoint"])


@MODES
@pytest.mark.parametrize("kind", ["run", "sleep", "two steps"])
async def test_each_line_of_an_async_branch_appears_once(mode: Any, kind: str, lines: Any):
    app = App("lg")

    @app.function(id="f", trigger=Event("go"), retries=0, mode=mode)
    async def f(ctx: Context) -> None:
        async def branch(n: int) -> None:
            ctx.logger.info("begin %d", n)
            if kind == "sleep":
                await ctx.step.sleep(f"nap {n}", 60)
            else:
                await ctx.step.run(f"charge {n}", lambda: n)
            ctx.logger.info("charged %d", n)
            if kind == "two steps":
                await ctx.step.run(f"mail {n}", lambda: n)
                ctx.logger.info("mailed %d", n)

        ctx.logger.info("start")
        await asyncio.gather(*(branch(n) for n in range(4)))
        ctx.logger.info("joined")

    assert (await ran(app))["status"] == "Completed"
    words = ["begin", "charged", *(["mailed"] if kind == "two steps" else [])]
    assert lines() == Counter(["start", "joined", *(f"{word} {n}" for word in words for n in range(4))])


@MODES
async def test_each_line_of_a_sync_branch_appears_once(mode: Any, lines: Any):
    app = App("lg")

    @app.function(id="f", trigger=Event("go"), retries=0, mode=mode)
    def f(ctx: SyncContext) -> None:
        def branch(n: int) -> None:
            ctx.step.run(f"charge {n}", lambda: n)
            ctx.logger.info("charged %d", n)
            ctx.step.run(f"mail {n}", lambda: n)
            ctx.logger.info("mailed %d", n)

        ctx.step.parallel([lambda n=n: branch(n) for n in range(4)])  # type: ignore[misc]
        ctx.logger.info("joined")

    assert (await ran(app))["status"] == "Completed"
    assert lines() == Counter(["joined", *(f"{word} {n}" for word in ("charged", "mailed") for n in range(4))])


@MODES
async def test_lines_before_a_step_that_fails_are_not_repeated_with_its_attempts(mode: Any, lines: Any):
    app = App("lg")

    @app.function(id="f", trigger=Event("go"), retries=3, mode=mode)
    async def f(ctx: Context) -> None:
        def fail() -> None:
            ctx.logger.info("in two")
            raise OSError

        ctx.logger.info("start")
        await ctx.step.run("one", lambda: 1)
        ctx.logger.info("one is done")
        await ctx.step.run("two", fail)

    assert (await ran(app))["status"] == "Failed"
    assert lines() == Counter({"start": 1, "one is done": 1, "in two": 4})


@MODES
async def test_lines_before_a_first_step_that_fails_are_not_repeated(mode: Any, lines: Any):
    app = App("lg")
    tries: list[int] = []

    def fail_twice() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise OSError

    @app.function(id="f", trigger=Event("go"), retries=3, mode=mode)
    async def f(ctx: Context) -> None:
        ctx.logger.info("start")
        await ctx.step.run("one", fail_twice)
        for n in range(3):
            ctx.logger.info("tick")
            await ctx.step.run("loop", lambda: 1)
            ctx.logger.info("tock %d", n)
        ctx.logger.info("end")

    assert (await ran(app))["status"] == "Completed"
    assert lines() == Counter({"start": 1, "tick": 3, "tock 0": 1, "tock 1": 1, "tock 2": 1, "end": 1})


@MODES
async def test_a_body_that_fails_writes_its_lines_in_each_attempt(mode: Any, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    app = App("lg")

    @app.function(id="f", trigger=Event("go"), retries=2, mode=mode)
    async def f(ctx: Context) -> None:
        await ctx.step.run("one", lambda: 1)
        ctx.logger.info("trying")
        raise OSError

    assert (await ran(app))["status"] == "Failed"
    written = [(r.attempt, r.after_step) for r in caplog.records if r.getMessage() == "trying"]  # type: ignore[attr-defined]
    assert written == [(0, "one"), (1, "one"), (2, "one")]


async def test_the_next_run_with_the_same_lines_writes_them_too(lines: Any):
    app = App("lg")

    @app.function(id="f", trigger=Event("go"), retries=0)
    async def f(ctx: Context) -> None:
        ctx.logger.info("start")
        await ctx.step.run("one", lambda: 1)
        ctx.logger.info("end")

    # Harnesses that begin at the same moment give their runs the same ids.
    await ran(app)
    await ran(app)
    assert lines() == Counter({"start": 2, "end": 2})
