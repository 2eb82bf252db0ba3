"""Sequential steps: what each invocation reports, and that no recorded step runs again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest

from milepost import App, Context, Event, SyncContext

from .fake_server import RUN_ID, FakeServer

Ran = list[str]


def three_steps_async(app: App, ran: Ran) -> None:
    async def body(name: str) -> str:
        ran.append(name)
        return name.upper()

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> list[str]:
        return [
            await ctx.step.run("a", body, "a"),
            await ctx.step.run("b", body, "b"),
            await ctx.step.run("c", body, "c"),
        ]


def three_steps_sync(app: App, ran: Ran) -> None:
    def body(name: str) -> str:
        ran.append(name)
        return name.upper()

    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> list[str]:
        return [ctx.step.run("a", body, "a"), ctx.step.run("b", body, "b"), ctx.step.run("c", body, "c")]


both = pytest.mark.parametrize("define", [three_steps_async, three_steps_sync], ids=["async", "sync"])
Define = Callable[[App, Ran], None]


@both
async def test_n_steps_take_n_invocations_because_the_last_runs_on_to_the_end(app: App, define: Define) -> None:
    ran: Ran = []
    define(app, ran)
    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.reported == [["StepRun a"], ["StepRun b"], ["StepRun c", "RunComplete complete"]]
    assert server.result == ["A", "B", "C"]


@both
async def test_a_finished_step_never_runs_again(app: App, define: Define) -> None:
    ran: Ran = []
    define(app, ran)
    await FakeServer(app, "shop-f").run()
    assert ran == ["a", "b", "c"]


@both
async def test_a_server_that_is_not_milepost_gets_one_step_per_answer_and_200_at_the_end(
    app: App, define: Define
) -> None:
    define(app, [])
    server = FakeServer(app, "shop-f", milepost=None)
    last = await server.run()
    assert server.reported == [["StepRun a"], ["StepRun b"], ["StepRun c"], []]
    assert (last.response.status, last.json) == (200, ["A", "B", "C"])


@both
async def test_a_peek_plans_the_step(app: App, define: Define) -> None:
    ran: Ran = []
    define(app, ran)
    called = await FakeServer(app, "shop-f").call(peek=True)
    assert (called.reported, ran) == (["StepPlanned a"], [])


async def test_after_a_step_the_answer_carries_the_sleep_that_follows_it(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> str:
        await ctx.step.run("a", int)
        await ctx.step.sleep("nap", "90s")
        return "done"

    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.reported == [["StepRun a", "Sleep nap"], []]
    assert server.calls[0].ops[1]["opts"] == {"duration": "90s"}
    assert server.result == "done"


async def test_after_a_step_the_answer_carries_the_parallel_steps_that_follow_it(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> Any:
        ctx.step.run("a", int)
        return ctx.step.parallel((lambda: ctx.step.run("b", int), lambda: ctx.step.run("c", int)))

    called = await FakeServer(app, "shop-f").call()
    assert called.reported == ["StepRun a", "StepPlanned b", "StepPlanned c"]


async def test_an_error_after_a_step_comes_with_the_next_call(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("a", int)
        raise LookupError("no such order")

    server = FakeServer(app, "shop-f", max_attempts=1)
    await server.run()
    assert server.reported == [["StepRun a"], []]
    assert server.calls[1].response.status == 500
    assert server.calls[1].json["name"] == "LookupError"


async def test_a_function_without_steps_answers_its_result(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> dict[str, int]:
        return {"n": ctx.event.data["n"] + 1}

    called = await FakeServer(app, "shop-f", data={"n": 1}).call()
    assert (called.response.status, called.json) == (200, {"n": 2})


async def test_every_use_of_an_id_is_a_separate_step(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> list[int]:
        return [await ctx.step.run("same", lambda i: i, i) for i in range(3)]

    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.result == [0, 1, 2]
    first = [call.ops[0] for call in server.calls]
    assert [{key: op["userland"][key] for key in ("id", "index")} for op in first] == [
        {"id": "same", "index": i} for i in range(3)
    ]
    assert len({op["id"] for op in first}) == 3


async def test_emoji_are_fine_in_step_ids(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> int:
        return await ctx.step.run("pay 💸", lambda: 1)

    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.reported[0][0] == "StepRun pay 💸"


@pytest.mark.parametrize(("step_id", "complaint"), [("a\0b", "NUL"), ("", "name"), ("x" * 2000, "characters")])
async def test_an_invalid_step_id_is_refused_clearly(app: App, step_id: str, complaint: str) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.run(step_id, int)

    called = await FakeServer(app, "shop-f").call()
    assert called.response.status == 400
    assert called.json["code"] == "bad_id"
    assert complaint in called.json["message"]


async def test_a_step_op_carries_its_timing_and_every_answer_the_headers(app: App) -> None:
    three_steps_async(app, [])
    called = await FakeServer(app, "shop-f").call()
    timing = called.ops[0]["timing"]
    assert 0 < timing["started_at"] <= timing["ended_at"]
    headers = called.response.headers
    assert headers["x-inngest-sdk"].startswith("milepost:v")
    assert headers["x-inngest-req-version"] == "2"
    assert headers["content-type"] == "application/json"


async def test_a_step_inside_a_step_is_refused_clearly(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        async def outer() -> None:
            await ctx.step.run("inner", int)

        await ctx.step.run("outer", outer)

    called = await FakeServer(app, "shop-f").call()
    assert called.reported == ["StepFailed outer"]
    error = called.ops[0]["error"]
    assert (error["name"], error["code"], error["noRetry"]) == ("NestedStepError", "nested_step", True)
    assert "'inner'" in error["message"]
    assert "'outer'" in error["message"]


async def test_an_async_callable_can_be_a_step_of_a_sync_function(app: App) -> None:
    async def fetch(n: int) -> int:
        return n * 2

    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> int:
        return ctx.step.run("fetch", fetch, 21)

    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.result == 42


async def test_a_run_started_again_from_a_step_uses_the_new_input(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> int:
        return await ctx.step.run("double", lambda n: n * 2, 1)

    server = FakeServer(app, "shop-f")
    await server.call()
    step_id = server.calls[0].ops[0]["id"]
    server.memos[step_id] = {"input": [10]}
    server.order.append(step_id)
    assert (await server.call()).ops[0]["data"] == 20


@pytest.mark.parametrize("names", [["a", "a:1", "a"], ["a:1", "a", "a"], ["a", "a", "a:1"], ["a:1", "b", "a", "a"]])
@pytest.mark.parametrize("mode", ["step", "checkpoint"])
async def test_an_id_that_is_another_ones_next_use_is_refused_naming_both(
    app: App, names: list[str], mode: Literal["step", "checkpoint"]
) -> None:
    @app.function(id="async", trigger=Event("t/a"), mode=mode)
    async def _(ctx: Context) -> None:
        for name in names:
            await ctx.step.run(name, int)

    @app.function(id="sync", trigger=Event("t/a"), mode=mode)
    def _(ctx: SyncContext) -> None:
        for name in names:
            ctx.step.run(name, int)

    for function in ("shop-async", "shop-sync"):
        server = FakeServer(app, function)
        server.checkpointer = server if mode == "checkpoint" else None
        last = await server.run()
        assert (last.response.status, last.json["code"]) == (400, "bad_id")
        assert f"step 'a:1' in function '{function}', run {RUN_ID}," in last.json["message"]
        assert "use 2 of step 'a'" in last.json["message"]


async def test_ids_that_end_in_a_number_after_a_colon_may_be_used_where_they_do_not_meet(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> list[int]:
        return [await ctx.step.run(name, int) for name in ("a", "a", "a:2", "a:01", "b:1", "b", "a:1:1")]

    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.result == [0] * 7
