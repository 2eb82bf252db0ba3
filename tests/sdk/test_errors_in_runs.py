"""Errors in a step or a function: those that are retried, and those that are final."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from milepost import App, Context, Event, NonRetriableError, Retries, RetryAfterError, StepError, SyncContext

from .fake_server import FakeServer

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


class CardDeclinedError(Exception):
    pass


async def decline() -> None:
    raise CardDeclinedError("no funds")


def decline_app(app: App, **options: Any) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> str:
        try:
            await ctx.step.run("pay", decline, **options)
        except StepError as error:
            return f"{error.name}: {error.message}"
        return "paid"


async def test_a_step_that_raises_reports_an_attempt_that_failed(app: App) -> None:
    decline_app(app)
    called = await FakeServer(app, "shop-f").call()
    error = called.ops[0]["error"]
    assert (called.response.status, called.reported) == (206, ["StepError pay"])
    assert (error["name"], error["message"]) == ("CardDeclinedError", "no funds")
    assert "in decline" in error["stack"]
    assert "_execute.py" not in error["stack"]


async def test_the_last_attempt_of_a_step_reports_that_it_failed_for_good(app: App) -> None:
    decline_app(app)
    called = await FakeServer(app, "shop-f", max_attempts=3).call(attempt=2)
    assert called.reported == ["StepFailed pay"]


async def test_a_step_that_failed_for_good_raises_in_the_function_which_may_catch_it(app: App) -> None:
    decline_app(app)
    server = FakeServer(app, "shop-f", max_attempts=2)
    await server.run()
    assert server.reported == [["StepError pay"], ["StepFailed pay"], []]
    assert server.result == "CardDeclinedError: no funds"


async def test_an_uncaught_step_error_fails_the_run_with_the_words_of_the_original(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> None:
        ctx.step.run("pay", decline)

    server = FakeServer(app, "shop-f", max_attempts=1)
    last = await server.run()
    assert last.response.status == 400
    assert last.response.headers["x-inngest-no-retry"] == "true"
    assert (last.json["name"], last.json["message"]) == ("CardDeclinedError", "no funds")
    assert "in decline" in last.json["stack"]


async def test_retries_of_a_step_override_those_of_the_function(app: App) -> None:
    decline_app(app, retries=Retries(max_retries=1, first_delay="2s"))
    server = FakeServer(app, "shop-f", max_attempts=9)
    first, second = await server.call(attempt=0), await server.call(attempt=1)
    assert (first.reported, second.reported) == (["StepError pay"], ["StepFailed pay"])
    backoff = {"first_delay": 2.0, "factor": 2.0, "max_delay": 7200.0, "jitter": 0.2}
    assert first.ops[0]["opts"]["retries"] == {"attempts": 1, "backoff": backoff}


async def test_a_planned_step_reports_its_retries(app: App) -> None:
    decline_app(app, retries=7)
    called = await FakeServer(app, "shop-f").call(peek=True)
    assert called.ops[0]["opts"] == {"retries": {"attempts": 7}}


async def test_a_non_retriable_error_in_a_step_fails_the_step_at_once(app: App) -> None:
    def refuse() -> None:
        raise NonRetriableError("closed account", data={"account": 7})

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> object:
        try:
            await ctx.step.run("pay", refuse)
        except StepError as error:
            return error.data
        return None

    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.reported[0] == ["StepFailed pay"]
    assert server.calls[0].ops[0]["error"]["noRetry"] is True
    assert server.result == {"account": 7}


@pytest.mark.parametrize(
    ("wish", "header", "moment"),
    [
        (timedelta(minutes=2), "120", NOW + timedelta(minutes=2)),
        (1.5, "2", NOW + timedelta(seconds=1.5)),
        (NOW + timedelta(hours=1), "3600", NOW + timedelta(hours=1)),
        ("1m30s", "90", NOW + timedelta(seconds=90)),
        (-5, "0", NOW),
        (NOW - timedelta(days=9), "0", NOW),
        (1e30, "86400", NOW + timedelta(days=1)),
        (timedelta.max, "86400", NOW + timedelta(days=1)),
        (datetime.max.replace(tzinfo=UTC), "86400", NOW + timedelta(days=1)),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), "0", NOW),
    ],
)
async def test_a_step_may_ask_to_be_tried_again_later(wish: Any, header: str, moment: datetime) -> None:
    app = App("shop", dev=False, now=lambda: NOW)

    def busy() -> None:
        raise RetryAfterError("busy", wish)

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("pay", busy)

    called = await FakeServer(app, "shop-f").call()
    assert (called.response.status, called.reported) == (206, ["StepError pay"])
    assert called.response.headers["retry-after"] == header
    assert datetime.fromisoformat(called.ops[0]["opts"]["retry_after"]) == moment


async def test_a_function_may_ask_to_be_tried_again_later(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        raise RetryAfterError("busy", 30)

    called = await FakeServer(app, "shop-f").call()
    assert called.response.status == 500
    assert called.response.headers["retry-after"] == "30"
    assert "x-inngest-no-retry" not in called.response.headers


@pytest.mark.parametrize("wish", ["soon", "", None, float("nan"), float("inf"), True, [], datetime(2026, 1, 1)])  # noqa: DTZ001
async def test_a_wish_that_is_no_duration_is_refused_where_it_is_made_and_keeps_the_message(
    app: App, wish: Any
) -> None:
    def busy() -> None:
        raise RetryAfterError("the bank is closed", wish)

    @app.function(id="async", trigger=Event("t/a"))
    async def _(ctx: Context) -> None:
        if ctx.event.data:
            busy()
        await ctx.step.run("pay", busy)

    @app.function(id="sync", trigger=Event("t/a"))
    def _(ctx: SyncContext) -> None:
        if ctx.event.data:
            busy()
        ctx.step.run("pay", busy)

    for function in ("shop-async", "shop-sync"):
        step = await FakeServer(app, function).call()
        assert step.reported == ["StepFailed pay"]
        body = await FakeServer(app, function, data={"in": "body"}).call()
        assert body.response.status == 400
        for error in (step.ops[0]["error"], body.json):
            assert (error["name"], error["code"]) == ("BadDurationError", "bad_duration")
            assert "RetryAfterError('the bank is closed', …)" in error["message"]
            assert "in busy" in error["stack"]


async def test_a_function_that_raises_is_tried_again(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> None:
        raise LookupError("no order")

    called = await FakeServer(app, "shop-f").call()
    assert called.response.status == 500
    assert called.json["name"] == "LookupError"
    assert "code" not in called.json
    assert called.response.headers["x-inngest-sdk"]


async def test_a_non_retriable_error_fails_the_run_at_once(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        raise NonRetriableError("closed")

    called = await FakeServer(app, "shop-f").call()
    assert called.response.status == 400
    assert called.response.headers["x-inngest-no-retry"] == "true"
    assert called.json["code"] == "non_retriable"


async def test_a_step_error_within_a_task_group_fails_the_run_with_the_original(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.step.run("pay", decline))

    server = FakeServer(app, "shop-f", max_attempts=1)
    last = await server.run()
    assert (last.response.status, last.json["name"]) == (400, "CardDeclinedError")


async def test_a_group_with_a_retriable_error_is_tried_again(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        raise ExceptionGroup("both", [NonRetriableError("a"), OSError("b")])

    assert (await FakeServer(app, "shop-f").call()).response.status == 500


async def test_a_step_whose_body_is_cut_off_by_a_timeout_is_an_attempt_that_failed(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        async with asyncio.timeout(0.01):
            await ctx.step.run("slow", asyncio.sleep, 3600)

    called = await FakeServer(app, "shop-f").call()
    assert called.reported == ["StepError slow"]
    assert called.ops[0]["error"]["name"] == "CancelledError"


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
async def test_an_exit_in_a_function_is_an_error_of_the_run_not_the_end_of_the_process(
    app: App, error: BaseException
) -> None:
    @app.function(id="a", trigger=Event("t/a"))
    async def a(ctx: Context) -> None:
        raise error

    @app.function(id="b", trigger=Event("t/a"))
    async def b(ctx: Context) -> None:
        async def body() -> None:
            raise error

        await asyncio.create_task(body())

    @app.function(id="c", trigger=Event("t/a"))
    def c(ctx: SyncContext) -> None:
        raise error

    for function in "abc":
        called = await FakeServer(app, f"shop-{function}").call()
        assert (called.response.status, called.json["name"]) == (500, type(error).__name__)


async def test_an_exit_in_a_step_is_an_attempt_that_failed(app: App) -> None:
    def leave() -> None:
        raise SystemExit(2)

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("leave", leave)

    assert (await FakeServer(app, "shop-f").call()).reported == ["StepError leave"]


async def test_the_cause_of_an_error_is_reported_with_it(app: App) -> None:
    def fail() -> None:
        try:
            raise OSError("disk full")
        except OSError as error:
            raise CardDeclinedError("no funds") from error

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> str:
        try:
            await ctx.step.run("pay", fail)
        except StepError as error:
            return str(error.cause)
        return "?"

    server = FakeServer(app, "shop-f", max_attempts=1)
    await server.run()
    assert server.result == "OSError: disk full"


async def test_a_huge_error_is_clipped_at_both_ends(app: App) -> None:
    def fail() -> None:
        raise ValueError("a" * 500_000 + "end")

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("pay", fail)

    error = (await FakeServer(app, "shop-f").call()).ops[0]["error"]
    assert len(error["message"]) < 40_000
    assert error["message"].endswith("end")
    assert len(error["stack"]) < 40_000


async def test_an_invoked_function_that_failed_raises_its_error(app: App) -> None:
    @app.function(id="child", triggers=[])
    async def child(ctx: Context) -> int:
        return 1

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> str:
        try:
            await ctx.step.invoke("call", child)
        except StepError as error:
            return str(error)
        return "?"

    error = {"error": "NonRetriableError", "name": "Boom", "message": "bang", "stack": ""}
    server = FakeServer(app, "shop-f", wakes={"call": {"error": error}})
    await server.run()
    assert server.result == "Boom: bang"


async def test_a_coroutine_passed_instead_of_a_function_is_refused_clearly(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("pay", decline())  # type: ignore[call-overload]

    called = await FakeServer(app, "shop-f").call()
    assert (called.response.status, called.json["code"]) == (400, "config")
    assert "without calling it" in called.json["message"]


async def test_a_plain_function_that_returns_a_coroutine_is_refused_clearly(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> Any:
        return decline()

    called = await FakeServer(app, "shop-f").call()
    assert called.response.status == 400
    assert "async def" in called.json["message"]


async def test_an_object_with_an_async_call_is_an_async_function(app: App) -> None:
    class Handler:
        async def __call__(self, ctx: Context) -> int:
            return await ctx.step.run("a", int)

    app.function(id="f", trigger=Event("t/a"))(Handler())
    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.result == 0
