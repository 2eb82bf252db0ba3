"""Middleware: when its hooks are called, and what they can change."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from milepost import App, Context, Event, SyncContext
from milepost.middleware import CallInput, Middleware, StepOutput
from milepost.sending import RecordingTransport

from .fake_server import FakeServer


class Recorder(Middleware):
    def __init__(self, calls: list[str], name: str = "") -> None:
        self.calls, self.name = calls, name

    def transform_input(self, given: CallInput) -> CallInput:
        self.calls.append(f"{self.name}transform_input")
        return given

    async def after_memoization(self, ctx: Any) -> None:
        self.calls.append(f"{self.name}after_memoization")

    def before_execution(self, ctx: Any) -> None:
        self.calls.append(f"{self.name}before_execution")

    async def after_execution(self, ctx: Any) -> None:
        self.calls.append(f"{self.name}after_execution")

    async def transform_output(self, output: StepOutput) -> StepOutput:
        self.calls.append(f"{self.name}transform_output {output.step}")
        return output

    def before_response(self, response: Any) -> None:
        self.calls.append(f"{self.name}before_response {response.status}")


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_the_hooks_are_called_in_order(kind: str) -> None:
    calls: list[str] = []
    app = App("shop", middleware=[Recorder(calls)])
    if kind == "async":

        @app.function(id="f", trigger=Event("t/a"))
        async def f(ctx: Context) -> None:
            calls.append("replay")
            await ctx.step.run("a", int)
            calls.append("new code")
            await ctx.step.run("b", calls.append, "body")

    else:

        @app.function(id="f", trigger=Event("t/a"))
        def g(ctx: SyncContext) -> None:
            calls.append("replay")
            ctx.step.run("a", int)
            calls.append("new code")
            ctx.step.run("b", calls.append, "body")

    server = FakeServer(app, "shop-f", milepost=None)
    await server.call()
    op = server.calls[0].ops[0]
    server.remember(op["id"], {"data": op["data"]})
    calls.clear()
    await server.call()
    assert calls == [
        "transform_input", "replay", "after_memoization", "before_execution", "new code", "body", "after_execution",
        "transform_output b", "before_response 206",
    ]  # fmt: skip


async def test_a_functions_middleware_stands_inside_the_apps() -> None:
    calls: list[str] = []
    app = App("shop", middleware=[Recorder(calls, "app ")])

    @app.function(id="f", trigger=Event("t/a"), middleware=[Recorder(calls, "function ")])
    async def f(ctx: Context) -> None: ...

    await FakeServer(app, "shop-f").call()
    assert calls[:2] == ["app transform_input", "function transform_input"]
    assert calls[-2:] == ["function before_response 200", "app before_response 200"]


class Sealing(Middleware):
    """Stands for encryption: what leaves is sealed, what comes back is opened."""

    def transform_output(self, output: StepOutput) -> StepOutput:
        return replace(output, data={"sealed": output.data}) if output.failure is None else output

    def transform_input(self, given: CallInput) -> CallInput:
        steps = {key: {"data": memo["data"]["sealed"]} for key, memo in given.steps.items()}
        events = tuple({**event, "data": {"opened": True}} for event in given.events)
        return replace(given, steps=steps, events=events)


@pytest.mark.parametrize("mode", ["step", "checkpoint"])
async def test_outputs_can_be_changed_on_the_way_out_and_back_in(mode: Any) -> None:
    app = App("shop", middleware=[Sealing()])

    @app.function(id="f", trigger=Event("t/a"), mode=mode)
    async def f(ctx: Context) -> Any:
        return [ctx.event.data, await ctx.step.run("a", lambda: 1), await ctx.step.run("b", lambda: 2)]

    server = FakeServer(app, "shop-f")
    server.checkpointer = server
    await server.run()
    assert next(iter(server.memos.values())) == {"data": {"sealed": 1}}
    assert server.result == {"sealed": [{"opened": True}, 1, 2]}


@pytest.mark.parametrize(
    "hook", ["transform_input", "after_memoization", "before_execution", "after_execution", "transform_output"]
)
async def test_an_error_in_a_hook_fails_the_invocation_and_names_hook_and_class(hook: str) -> None:
    def fail(self: Any, _: Any) -> Any:
        raise OSError("vault is sealed")

    broken = type("Broken", (Middleware,), {hook: fail})()
    app = App("shop", middleware=[broken])

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> Any:
        return await ctx.step.run("a", int)

    called = await asyncio.wait_for(FakeServer(app, "shop-f").call(), 5)
    assert (called.response.status, called.json["message"]) == (500, "vault is sealed")
    assert f"Broken, in {hook}" in called.json["stack"]


async def test_an_error_in_a_hook_in_the_middle_of_a_run_fails_the_invocation() -> None:
    class Broken(Middleware):
        async def before_execution(self, ctx: Any) -> None:
            raise OSError("vault is sealed")

    app = App("shop", middleware=[Broken()])

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> Any:
        return await ctx.step.run("a", int)

    server = FakeServer(app, "shop-f")
    server.remember("86f7e437faa5a7fce15d1ddcb9eaeaea377667b8", {"data": 1})
    called = await asyncio.wait_for(server.call(), 5)
    assert (called.response.status, called.json["message"]) == (500, "vault is sealed")


async def test_a_hook_that_forgets_to_return_a_value_is_a_clear_error() -> None:
    class Forgetful(Middleware):
        def transform_output(self, output: StepOutput) -> Any: ...

    app = App("shop", middleware=[Forgetful()])

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None: ...

    assert "returned None" in (await FakeServer(app, "shop-f").call()).json["message"]


@pytest.mark.parametrize("is_async", [True, False])
async def test_sent_events_can_be_changed_and_hooks_get_their_ids(*, is_async: bool) -> None:
    notified: list[Any] = []

    class Stamping(Middleware):
        async def before_send_events(self, events: Any) -> Any:
            await asyncio.sleep(0)
            return [{**event, "data": {"stamped": True}} for event in events]

        async def after_send_events(self, events: Any, ids: Any) -> None:
            notified.append((len(events), list(ids)))

    transport = RecordingTransport()
    app = App("shop", middleware=[Stamping()], transport=transport)
    if is_async:
        await app.send({"name": "t/a"})
    else:
        app.send_sync({"name": "t/a"})
    assert transport.events == [{"name": "t/a", "data": {"stamped": True}}]
    assert notified == [(1, ["event-1"])]
