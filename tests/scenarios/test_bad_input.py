"""User code that does something unexpected: the run ends with a clear error or continues; nothing is stuck."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from milepost import App, Context, Event, FunctionRef, Retries, StepError

from .rig import Rig, rig, step

QUICK = Retries(max_retries=1, first_delay="1s", jitter=0)


async def outcome_of(app: App, data: dict[str, Any] | None = None) -> dict[str, Any]:
    """The only run of function `f`, once it has ended."""
    async with rig(app) as r:
        await r.send("go", data)
        await r.wind(30)
        run = await r.only_run("a-f")
        await still_works(r)
        return run


async def still_works(r: Rig) -> None:
    other = App("other")

    @other.function(id="g", trigger="other")
    async def g(ctx: Context) -> int:
        return await ctx.step.run("one", lambda: 1)

    await r.serve(other)
    await r.send("other")
    assert (await r.only_run("other-g"))["output"] == 1


NAMES = ["🎈 emoji", "a/b?c#d%20", "' OR 1=1 --", "x" * 500, "\u202ertl", " ", "..", "ünïcödé"]


async def test_steps_may_have_any_name_and_keep_it():
    app = App("a")

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> list[str]:
        return [await ctx.step.run(name, lambda name: name, name) for name in NAMES]

    run = await outcome_of(app)
    assert (run["status"], run["output"]) == ("Completed", NAMES), run["error"]
    assert [span["name"] for span in run["trace"]] == NAMES


@pytest.mark.parametrize("name", ["nul\0inside", "", "x" * 5000, 7])
async def test_a_step_name_that_cannot_be_fails_the_run_at_once_and_is_shown(name: Any):
    app = App("a")

    @app.function(id="f", trigger="go", retries=QUICK)
    async def f(ctx: Context) -> None:
        await ctx.step.run(name, lambda: 1)

    run = await outcome_of(app)
    assert (run["status"], run["error"]["name"]) == ("Failed", "BadIdError")
    assert "step" in run["error"]["message"]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


async def test_a_result_nested_too_deeply_fails_its_step_clearly_and_can_be_caught():
    app = App("a")

    @app.function(id="f", trigger="go", retries=QUICK)
    async def f(ctx: Context) -> str:
        await ctx.step.run("fine", lambda: nested(100))
        try:
            await ctx.step.run("deep", lambda: nested(5000))
        except StepError as failed:
            return failed.message
        return "came through"

    run = await outcome_of(app)
    assert run["status"] == "Completed"
    assert "deep" in run["output"]
    assert step(run, "deep")["status"] == "Failed"


class Order(BaseModel):
    cents: int


async def test_data_that_does_not_fit_the_model_of_an_event_fails_the_run_at_once_and_names_the_field():
    app = App("a")

    @app.function(id="f", trigger=Event("go", Order))
    async def f(ctx: Context[Order]) -> int:
        return ctx.event.data.cents

    run = await outcome_of(app, {"cents": "many"})
    assert (run["status"], run["error"]["name"]) == ("Failed", "EventMismatchError")
    assert "cents" in run["error"]["message"]
    assert "'go'" in run["error"]["message"]


async def test_invoking_an_unknown_function_fails_the_step_and_names_it():
    app = App("a")

    @app.function(id="f", trigger="go", retries=QUICK)
    async def f(ctx: Context) -> None:
        await ctx.step.invoke("call", FunctionRef("elsewhere", "nothing"), {})

    run = await outcome_of(app)
    assert run["status"] == "Failed"
    assert "elsewhere-nothing" in run["error"]["message"]


@pytest.mark.parametrize("expression", ["event.data.(", "(" * 300, "async.data.x ==="])
async def test_a_wait_whose_expression_cannot_be_read_fails_its_step_rather_than_waiting_for_ever(expression: str):
    app = App("a")

    @app.function(id="f", trigger="go", retries=QUICK)
    async def f(ctx: Context) -> None:
        await ctx.step.wait_for_event("w", "signal", timeout="1h", if_=expression)

    run = await outcome_of(app)
    assert run["status"] == "Failed"
    assert "'w'" in run["error"]["message"]


@pytest.mark.parametrize("span", ["367d", "9999y", timedelta(days=400)])
async def test_a_sleep_of_more_than_a_year_fails_its_step_and_says_the_limit(span: Any):
    app = App("a")

    @app.function(id="f", trigger="go", retries=QUICK)
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("long", span)

    run = await outcome_of(app)
    assert run["status"] == "Failed"


async def test_a_function_that_swallows_every_exception_still_ends():
    app = App("a")

    @app.function(id="f", trigger="go", retries=QUICK)
    async def f(ctx: Context) -> str:
        for _ in range(3):
            with suppress(Exception):
                await ctx.step.run("one", lambda: 1)
        return "done"

    assert (await outcome_of(app))["output"] == "done"


async def test_code_that_leaves_with_system_exit_fails_the_attempt_and_not_the_engine():
    app = App("a")

    @app.function(id="f", trigger="go", retries=QUICK)
    async def f(ctx: Context) -> None:
        def leave() -> None:
            raise SystemExit(3)

        await ctx.step.run("leave", leave)

    run = await outcome_of(app)
    assert run["status"] == "Failed"
