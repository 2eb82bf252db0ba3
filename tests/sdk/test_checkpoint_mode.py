"""Checkpoint mode: many steps in one invocation, each saved before the next begins."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from milepost import App, Context, Event, NonRetriableError, SyncContext
from milepost.errors import CheckpointRefused
from milepost.sending import RecordingTransport

from .fake_server import FakeServer
from .http_server import serving


class Saves:
    """A checkpointer that keeps what it is given; `failing` is raised from the n-th save on."""

    def __init__(self, failing: Exception | None = None, after: int = 0) -> None:
        self.saved: list[list[str]] = []
        self.loops: set[int] = set()
        self._failing = failing
        self._after = after

    async def save(self, ops: Any) -> None:
        self.loops.add(id(asyncio.get_running_loop()))
        if self._failing is not None and len(self.saved) >= self._after:
            raise self._failing
        self.saved.append([op["displayName"] for op in ops])


def three_steps(app: App, kind: str = "async", ran: list[str] | None = None, **options: Any) -> None:
    ran = ran if ran is not None else []
    if kind == "async":

        @app.function(id="f", trigger=Event("t/a"), mode="checkpoint", **options)
        async def f(ctx: Context) -> str:
            for name in "abc":
                await ctx.step.run(name, ran.append, name)
            return "".join(ran)

    else:

        @app.function(id="f", trigger=Event("t/a"), mode="checkpoint", **options)
        def g(ctx: SyncContext) -> str:
            for name in "abc":
                ctx.step.run(name, ran.append, name)
            return "".join(ran)


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_all_steps_run_in_one_invocation_each_saved_before_the_next(app: App, kind: str) -> None:
    three_steps(app, kind)
    saves = Saves()
    server = FakeServer(app, "shop-f", checkpointer=saves)
    await server.run()
    assert saves.saved == [["a"], ["b"], ["c"]]
    assert server.reported == [["RunComplete complete"]]
    assert server.result == "abc"


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_steps_are_saved_on_the_loop_of_whoever_called(app: App, kind: str) -> None:
    three_steps(app, kind)
    saves = Saves()
    await FakeServer(app, "shop-f", checkpointer=saves).call()
    assert saves.loops == {id(asyncio.get_running_loop())}


async def test_without_a_checkpointer_the_mode_behaves_like_step_mode(app: App) -> None:
    three_steps(app)
    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.reported == [["StepRun a"], ["StepRun b"], ["StepRun c", "RunComplete complete"]]


async def test_a_function_in_step_mode_ignores_the_checkpointer(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("a", int)
        await ctx.step.run("b", int)

    saves = Saves()
    assert (await FakeServer(app, "shop-f", checkpointer=saves).call()).reported == ["StepRun a"]
    assert saves.saved == []


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_stale_invocation_stops_at_once_and_reports_nothing(app: App, kind: str) -> None:
    ran: list[str] = []
    three_steps(app, kind, ran)
    called = await FakeServer(app, "shop-f", checkpointer=Saves(CheckpointRefused(), after=1)).call()
    assert (called.response.status, called.ops, ran) == (206, [], ["a", "b"])


@pytest.mark.parametrize("error", [ConnectionError("down"), CheckpointRefused("too large", stale=False)])
async def test_a_step_that_could_not_be_saved_is_returned_and_no_further_one_runs(app: App, error: Exception) -> None:
    ran: list[str] = []
    three_steps(app, "async", ran)
    called = await FakeServer(app, "shop-f", checkpointer=Saves(error, after=1)).call()
    assert (called.reported, ran) == (["StepRun b"], ["a", "b"])


async def test_the_answer_carries_the_last_step_in_the_budget(transport: RecordingTransport) -> None:
    app = App("shop", transport=transport, checkpoint_budget=0)
    three_steps(app)
    saves = Saves()
    called = await FakeServer(app, "shop-f", checkpointer=saves).call()
    assert (called.reported, saves.saved) == (["StepRun a"], [])


async def test_the_budget_of_a_call_overrides_that_of_the_app(app: App) -> None:
    three_steps(app)
    saves = Saves()
    server = FakeServer(app, "shop-f", checkpointer=saves)
    original = app.handle

    async def hurried(request: Any, *, checkpointer: Any = None, authenticated: bool = False) -> Any:
        return await original(request, checkpointer=checkpointer, budget=timedelta(0), authenticated=authenticated)

    app.handle = hurried  # type: ignore[assignment, method-assign]
    assert (await server.call()).reported == ["StepRun a"]


async def test_a_sleep_after_saved_steps_is_reported_alone(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"), mode="checkpoint")
    async def f(ctx: Context) -> None:
        await ctx.step.run("a", int)
        await ctx.step.sleep("nap", 1)
        await ctx.step.run("b", int)

    server = FakeServer(app, "shop-f")
    server.checkpointer = server
    await server.run()
    assert server.reported == [["Sleep nap"], ["RunComplete complete"]]


async def test_a_step_after_a_saved_one_is_on_its_first_attempt(app: App) -> None:
    def fail() -> None:
        raise OSError("down")

    @app.function(id="f", trigger=Event("t/a"), mode="checkpoint")
    async def f(ctx: Context) -> None:
        await ctx.step.run("a", int)
        await ctx.step.run("b", fail)

    called = await FakeServer(app, "shop-f", max_attempts=3, checkpointer=Saves()).call(attempt=2)
    assert called.reported == ["StepError b"]


async def test_an_error_of_the_function_after_saved_steps_is_reported_at_once(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"), mode="checkpoint")
    async def f(ctx: Context) -> None:
        await ctx.step.run("a", int)
        raise NonRetriableError("no")

    called = await FakeServer(app, "shop-f", checkpointer=Saves()).call()
    assert called.response.status == 400


async def test_over_http_steps_are_posted_to_the_server_that_the_call_names(app: App) -> None:
    three_steps(app)
    with serving((200, None)) as http:
        extension = {"version": 1, "checkpoint": {"url": http.url}}
        server = FakeServer(app, "shop-f", milepost=extension)
        await server.call(qi_id="q", request_id="r", generation_id=3)
    assert server.reported == [["RunComplete complete"]]
    assert [heard.path for heard in http.heard] == [f"/v1/checkpoint/{server.run_id}/async"] * 3
    body = http.heard[0].json
    assert (body["fn_id"], body["qi_id"], body["request_id"], body["generation_id"]) == ("fn", "q", "r", 3)
    assert [(op["op"], op["displayName"]) for op in body["steps"]] == [("StepRun", "a")]
    assert body["request_started_at"] <= body["ts"]


@pytest.mark.parametrize(("status", "reported"), [(409, []), (404, []), (413, ["StepRun a"]), (401, ["StepRun a"])])
async def test_over_http_the_servers_refusal_is_understood(app: App, status: int, reported: list[str]) -> None:
    three_steps(app)
    with serving((status, {"error": "no"})) as http:
        server = FakeServer(app, "shop-f", milepost={"checkpoint": {"url": http.url}})
        assert (await server.call()).reported == reported


async def test_parallel_steps_are_planned_in_checkpoint_mode_too(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"), mode="checkpoint")
    async def f(ctx: Context) -> Any:
        await ctx.step.run("a", int)
        return await asyncio.gather(ctx.step.run("b", int), ctx.step.run("c", int))

    server = FakeServer(app, "shop-f", checkpointer=Saves())
    assert (await server.call()).reported == ["StepPlanned b", "StepPlanned c"]
