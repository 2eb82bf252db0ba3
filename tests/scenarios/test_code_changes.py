"""Old runs meet new code: each row of docs/code-changes.md."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from milepost import App, Context, Retries

from .rig import names, rig, step

QUICK = Retries(max_retries=2, first_delay="1s", jitter=0)
Body = Callable[[Context], Coroutine[Any, Any, Any]]


def app_with(body: Body | None) -> App:
    app = App("a")
    if body is not None:
        app.function(id="f", trigger="go", retries=QUICK)(body)
    return app


async def after(first: Body, then: Body | None) -> dict[str, Any]:
    """A run that begins with some code, is deployed over while it sleeps, and ends with other code."""
    async with rig(app_with(first)) as r:
        await r.send("go")
        await r.serve(app_with(then))
        await r.wind(timedelta(seconds=70))
        return await r.only_run()


async def nap(ctx: Context) -> None:
    await ctx.step.sleep("nap", "60s")


async def before(ctx: Context) -> list[str]:
    one = await ctx.step.run("one", lambda: "old one")
    await nap(ctx)
    return [one, await ctx.step.run("two", lambda: "old two")]


async def test_a_step_added_before_the_present_one_runs_when_the_run_gets_there():
    async def then(ctx: Context) -> list[str]:
        zero = await ctx.step.run("zero", lambda: "new zero")
        return [zero, *(await before(ctx))]

    run = await after(before, then)
    assert run["output"] == ["new zero", "old one", "old two"]
    assert sorted(names(run)) == ["nap", "one", "two", "zero"]


async def test_a_step_added_elsewhere_shifts_nothing():
    async def then(ctx: Context) -> list[str]:
        made = await before(ctx)
        return [*made, await ctx.step.run("three", lambda: "new three")]

    assert (await after(before, then))["output"] == ["old one", "old two", "new three"]


async def test_a_renamed_step_runs_under_its_new_name_and_its_old_result_stays_in_the_trace():
    async def then(ctx: Context) -> list[str]:
        uno = await ctx.step.run("uno", lambda: "new one")
        await nap(ctx)
        return [uno]

    run = await after(before, then)
    assert (run["output"], step(run, "one")["output"]) == (["new one"], "old one")


async def test_the_result_of_a_removed_step_stays_unused():
    async def then(ctx: Context) -> list[str]:
        await nap(ctx)
        return [await ctx.step.run("two", lambda: "new two")]

    run = await after(before, then)
    assert (run["status"], run["output"]) == ("Completed", ["new two"])
    assert step(run, "one")["status"] == "Completed"


async def test_a_removed_parallel_step_that_was_planned_vanishes_and_the_run_continues():
    def down() -> None:
        raise ConnectionError("down")

    async def first(ctx: Context) -> list[Any]:
        slow = Retries(9, first_delay="60s", jitter=0)
        both = await asyncio.gather(ctx.step.run("left", lambda: 1), ctx.step.run("right", down, retries=slow))
        return list(both)

    async def then(ctx: Context) -> list[Any]:
        left = await ctx.step.run("left", lambda: 1)
        await ctx.step.sleep("long", "65s")
        return [left]

    run = await after(first, then)
    assert (run["status"], run["output"], step(run, "right")["status"]) == ("Completed", [1], "Vanished")


async def test_a_changed_body_does_not_change_a_recorded_result():
    async def then(ctx: Context) -> list[str]:
        one = await ctx.step.run("one", lambda: "new one")
        await nap(ctx)
        return [one, await ctx.step.run("two", lambda: "new two")]

    assert (await after(before, then))["output"] == ["old one", "new two"]


async def test_a_step_that_became_a_sleep_fails_the_run_and_asks_for_another_name():
    async def then(ctx: Context) -> None:
        await ctx.step.sleep("one", "1s")
        await nap(ctx)

    run = await after(before, then)
    assert (run["status"], run["error"]["name"]) == ("Failed", "NonDeterminismError")
    assert "'one'" in run["error"]["message"]


async def test_the_runs_of_a_removed_function_fail_once_their_attempts_are_over():
    run = await after(before, None)
    assert run["status"] == "Failed"
    assert "function" in run["error"]["message"]


async def test_the_runs_of_a_removed_function_continue_if_it_comes_back_before():
    async with rig(app_with(before)) as r:
        await r.send("go")
        await r.serve(app_with(None))
        await r.wind(timedelta(seconds=61))
        assert (await r.only_run())["status"] == "Running"
        await r.serve(app_with(before))
        await r.wind(timedelta(seconds=10))
        assert (await r.only_run())["output"] == ["old one", "old two"]


def test_the_table_of_the_page_has_a_row_for_each_of_these():
    page = (Path(__file__).parents[2] / "docs" / "code-changes.md").read_text()
    assert len(re.findall(r"^\| [a-z]", page, re.MULTILINE)) - 1 == 8


pytestmark = pytest.mark.patient
