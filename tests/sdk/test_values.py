"""Values are round-tripped through JSON, the first time too, and read back as the declared type."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from milepost import App, Context, Event, FunctionRef, SyncContext
from milepost.middleware import Middleware, StepOutput

from .fake_server import RUN_ID, FakeServer

MOMENT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


class Receipt(BaseModel):
    number: int
    issued_at: datetime = Field(alias="issuedAt")


@dataclass
class Point:
    x: int
    tags: set[str]


def receipt() -> Receipt:
    return Receipt(number=7, issuedAt=MOMENT)


async def receipts() -> list[Receipt]:
    return [receipt()]


def point() -> Point:
    return Point(1, {"a"})


def moment() -> datetime:
    return MOMENT


def maybe() -> Annotated[Receipt | None, "documented"]:
    return receipt()


class Shop:
    def receipt(self) -> Receipt:
        return receipt()

    def __call__(self) -> Receipt:
        return receipt()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (receipt, receipt()),
        (receipts, [receipt()]),
        (point, Point(1, {"a"})),
        (moment, MOMENT),
        (maybe, receipt()),
        (partial(receipt), receipt()),
        (Shop().receipt, receipt()),
        (Shop(), receipt()),
    ],
    ids=["model", "list of models", "dataclass", "datetime", "optional", "partial", "method", "object"],
)
async def test_an_annotated_result_comes_back_as_its_type_both_times(app: App, body: Any, expected: Any) -> None:
    seen: list[Any] = []

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        seen.append(await ctx.step.run("a", body))
        await ctx.step.sleep("nap", 1)

    await FakeServer(app, "shop-f").run()
    assert seen == [expected, expected]


async def test_a_result_without_annotation_is_plain_json_both_times(app: App) -> None:
    seen: list[Any] = []

    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> None:
        seen.append(ctx.step.run("a", lambda: {1: (1, 2), "when": MOMENT}))
        ctx.step.sleep("nap", 1)

    await FakeServer(app, "shop-f").run()
    assert seen == [{"1": [1, 2], "when": "2026-11-23T08:00:00Z"}] * 2


async def test_a_type_defined_within_a_function_is_found(app: App) -> None:
    class Local(BaseModel):
        n: int

    def make() -> Local:
        return Local(n=1)

    seen: list[Any] = []

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        seen.append(await ctx.step.run("a", make))

    await FakeServer(app, "shop-f").run()
    assert seen == [Local(n=1)]


async def test_the_result_of_an_invoked_function_comes_back_as_its_type(app: App) -> None:
    @app.function(id="child", triggers=[])
    async def child(ctx: Context) -> Receipt:
        return receipt()

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> list[Any]:
        one = await ctx.step.invoke("one", child, {"a": 1}, timeout="1h")
        other = await ctx.step.invoke("other", FunctionRef("billing", "issue", returns=Receipt))
        assert one == other == receipt()
        return [one.number, other.number]

    result = {"data": {"number": 7, "issuedAt": "2026-11-23T08:00:00Z"}}
    server = FakeServer(app, "shop-f", wakes={"one": result, "other": result})
    await server.run()
    assert server.result == [7, 7]
    assert server.calls[0].ops[0]["opts"] == {
        "function_id": "shop-child", "payload": {"data": {"a": 1}}, "timeout": "3600s", "cancel_with_parent": True,
    }  # fmt: skip
    assert server.calls[1].ops[0]["opts"]["function_id"] == "billing-issue"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"deep": [float("-inf")]}])
async def test_nan_and_infinities_are_refused(app: App, value: Any) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("ratio", lambda: value)

    called = await FakeServer(app, "shop-f").call()
    assert called.reported == ["StepFailed ratio"]
    error = called.ops[0]["error"]
    assert (error["code"], error["noRetry"]) == ("not_serializable", True)
    assert "'ratio'" in error["message"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"deep": [float("-inf")]}])
@pytest.mark.parametrize("remembers", [False, True])
@pytest.mark.parametrize("is_async", [True, False])
async def test_nan_and_infinities_are_refused_as_the_result_of_a_function_too(
    app: App, value: Any, *, remembers: bool, is_async: bool
) -> None:
    @app.function(id="async", trigger=Event("t/a"))
    async def _(ctx: Context) -> Any:
        if remembers:
            await ctx.step.run("a", int)
        return value

    @app.function(id="sync", trigger=Event("t/a"))
    def _(ctx: SyncContext) -> Any:
        if remembers:
            ctx.step.run("a", int)
        return value

    name = "shop-async" if is_async else "shop-sync"
    last = await FakeServer(app, name).run()
    assert (last.response.status, last.json["code"]) == (400, "not_serializable")
    assert f"function '{name}', run {RUN_ID}," in last.json["message"]
    assert last.response.headers["x-inngest-no-retry"] == "true"


async def test_a_middleware_that_makes_a_result_nan_is_refused_too() -> None:
    class Spoil(Middleware):
        def transform_output(self, output: StepOutput) -> StepOutput:
            return replace(output, data=float("nan"))

    app = App("shop", middleware=[Spoil()])

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> int:
        return 1

    called = await FakeServer(app, "shop-f").call()
    assert (called.response.status, called.json["code"]) == (400, "not_serializable")


async def test_the_words_for_nan_and_infinity_may_stand_in_texts(app: App) -> None:
    value = {"Infinity": "NaN and -Infinity"}

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> Any:
        return await ctx.step.run("a", lambda: value)

    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.result == value


async def test_a_result_that_json_cannot_carry_is_refused_naming_step_and_type(app: App) -> None:
    class Connection:
        pass

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("connect", Connection)

    error = (await FakeServer(app, "shop-f").call()).ops[0]["error"]
    assert error["noRetry"] is True
    assert "'connect'" in error["message"]
    assert "Connection" in error["message"]


async def test_a_result_that_does_not_fit_its_annotation_is_refused(app: App) -> None:
    def wrong() -> Receipt:
        return {"number": "seven"}  # type: ignore[return-value]

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("a", wrong)

    called = await FakeServer(app, "shop-f").call()
    assert called.reported == ["StepFailed a"]
    assert called.ops[0]["error"]["code"] == "not_serializable"


async def test_a_result_over_four_mebibytes_is_refused_and_not_retried(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("export", lambda: "x" * (4 * 1024 * 1024))

    called = await FakeServer(app, "shop-f").call()
    error = called.ops[0]["error"]
    assert called.reported == ["StepFailed export"]
    assert (error["code"], error["noRetry"]) == ("payload_too_large", True)
    assert "'export'" in error["message"]


async def test_a_function_result_that_json_cannot_carry_fails_the_run_clearly(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> object:
        return object()

    called = await FakeServer(app, "shop-f").call()
    assert (called.response.status, called.json["code"]) == (400, "not_serializable")


async def test_an_annotation_that_cannot_be_resolved_gives_plain_json_and_a_warning(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    def make() -> Nowhere:  # type: ignore[name-defined]  # noqa: F821
        return {"n": 1}

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> Any:
        return await ctx.step.run("a", make)

    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.result == {"n": 1}
    assert "Nowhere" in caplog.text


async def test_lone_surrogates_are_refused_clearly(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("a", lambda: "\ud800")

    assert (await FakeServer(app, "shop-f").call()).ops[0]["error"]["code"] == "not_serializable"


async def test_large_integers_survive(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> int:
        return await ctx.step.run("a", lambda: 2**80 + 1)

    server = FakeServer(app, "shop-f", milepost=None)
    await server.run()
    assert server.result == 2**80 + 1
