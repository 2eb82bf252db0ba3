"""Arguments of steps are sent as JSON: those that cannot be are refused at the call, and not retried."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, Field

from milepost import App, Context, Event, FunctionRef, SyncContext
from milepost.errors import CodeError, NotSerializableError
from milepost.middleware import Middleware
from milepost.sending import RecordingTransport

from .fake_server import RUN_ID, FakeServer

CYCLE: list[Any] = []
CYCLE.append(CYCLE)
OTHER: FunctionRef[Any] = FunctionRef("shop", "other")

Call = Callable[[Any], Any]

CALLS: list[tuple[str, Call, str]] = [
    ("a step", lambda step: step.run("\ud800", int), "its id '\\ud800' contains a lone surrogate"),
    ("a step", lambda step: step.run("a\0", int), "NUL"),
    ("a step", lambda step: step.sleep("", 1), "its id is ''"),
    ("a step", lambda step: step.sleep("ä" * 1025, 1), "1025 characters"),
    ("a step", lambda step: step.run(5, int), "its id is 5"),
    ("step 'a'", lambda step: step.run("a", 5), "got an object of type int to run"),
    ("step 'a'", lambda step: step.run("a", int, retries="many"), "retries are 'many'"),
    ("invoke 'a'", lambda step: step.invoke("a", OTHER, object()), "data that JSON cannot represent"),
    ("invoke 'a'", lambda step: step.invoke("a", OTHER, {"x": CYCLE}), "data that JSON cannot represent"),
    ("invoke 'a'", lambda step: step.invoke("a", OTHER, {"x": "\ud800"}), "data that JSON cannot represent"),
    ("invoke 'a'", lambda step: step.invoke("a", OTHER, {"x": float("nan")}), "data that JSON cannot represent"),
    ("invoke 'a'", lambda step: step.invoke("a", OTHER, [1]), "of type list"),
    ("invoke 'a'", lambda step: step.invoke("a", 5), "got 5 to call"),
    ("invoke 'a'", lambda step: step.invoke("a", FunctionRef("a", "\ud800")), "the id of the function"),
    ("invoke 'a'", lambda step: step.invoke("a", OTHER, timeout="soon"), "the timeout"),
    ("wait 'a'", lambda step: step.wait_for_event("a", 5, timeout=1), "is 5, of type int"),
    ("wait 'a'", lambda step: step.wait_for_event("a", None, timeout=1), "is None"),
    ("wait 'a'", lambda step: step.wait_for_event("a", "t/\ud800", timeout=1), "a lone surrogate"),
    ("wait 'a'", lambda step: step.wait_for_event("a", "t/a", timeout=1, if_="'\ud800'"), "if_"),
    ("wait 'a'", lambda step: step.wait_for_event("a", "t/a", timeout=1, if_=5), "if_"),
    ("wait 'a'", lambda step: step.wait_for_event("a", "t/a", timeout=1, match=5), "match"),
    ("wait 'a'", lambda step: step.wait_for_event("a", "t/a", timeout=None), "the timeout"),
    ("sleep 'a'", lambda step: step.sleep_until("a", 5), "the moment is 5"),
    ("sleep 'a'", lambda step: step.sleep_until("a", "soon"), "the moment 'soon'"),
    ("sleep 'a'", lambda step: step.sleep("a", "soon"), "the duration"),
]


@pytest.mark.parametrize(("what", "call", "said"), CALLS)
async def test_an_invalid_step_call_is_refused_naming_step_function_and_run_and_is_not_retried(
    app: App, what: str, call: Call, said: str
) -> None:
    @app.function(id="async", trigger=Event("t/a"))
    async def _(ctx: Context) -> None:
        await call(ctx.step)

    @app.function(id="sync", trigger=Event("t/a"))
    def _(ctx: SyncContext) -> None:
        call(ctx.step)

    for function in ("shop-async", "shop-sync"):
        called = await FakeServer(app, function).call()
        assert (called.response.status, called.response.headers["x-inngest-no-retry"]) == (400, "true")
        assert called.json["message"].startswith(f"{what} of function '{function}', run {RUN_ID}")
        assert said in called.json["message"]
        assert called.json["code"] in {
            "bad_id",
            "bad_duration",
            "bad_retries",
            "bad_trigger",
            "config",
            "not_serializable",
        }


SENT: list[tuple[Any, str]] = [
    (None, "an event to send is None"),
    (5, "an event to send is 5"),
    ([5], "an event to send is 5"),
    ("t/a", "an event to send is 't/a'"),
    (b"t/a", "an event to send is b't/a'"),
    ({"name": "t/a", "data": {"x": float("inf")}}, "event 't/a' has data that JSON cannot represent"),
    ({"name": "t/a", "data": {"x": "\ud800"}}, "event 't/a' has data that JSON cannot represent"),
    ({"name": "t/a", "data": {"x": CYCLE}}, "event 't/a' has data that JSON cannot represent"),
    ({"name": "t/a", "ts": float("nan")}, "event 't/a' has data that JSON cannot represent"),
    ({"name": "t/a", "id": object()}, "event 't/a' has data that JSON cannot represent"),
    ({"name": "t/\ud800"}, "a lone surrogate"),
    ({"name": "t/\0"}, "NUL"),
]


@pytest.mark.parametrize(("events", "said"), SENT)
async def test_an_invalid_event_fails_the_step_that_sends_it_for_good(app: App, events: Any, said: str) -> None:
    @app.function(id="async", trigger=Event("t/a"))
    async def _(ctx: Context) -> None:
        await ctx.step.send_event("notify", events)

    @app.function(id="sync", trigger=Event("t/a"))
    def _(ctx: SyncContext) -> None:
        ctx.step.send_event("notify", events)

    for function in ("shop-async", "shop-sync"):
        called = await FakeServer(app, function).call()
        assert called.reported == ["StepFailed notify"]
        message = called.ops[0]["error"]["message"]
        assert message.startswith(f"send in step 'notify' of function '{function}', run {RUN_ID}: ")
        assert said in message


@pytest.mark.parametrize(("events", "said"), SENT)
async def test_an_invalid_event_is_refused_outside_of_runs_too(app: App, events: Any, said: str) -> None:
    with pytest.raises(CodeError, match=re.escape(said)):
        await app.send(events)
    with pytest.raises(CodeError, match=re.escape(said)):
        app.send_sync(events)


async def test_a_middleware_that_spoils_an_event_is_refused(transport: RecordingTransport) -> None:
    class Spoil(Middleware):
        def before_send_events(self, events: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
            return [{**event, "data": {"x": float("nan")}} for event in events]

    app = App("shop", transport=transport, middleware=[Spoil()])
    with pytest.raises(NotSerializableError, match="middleware: event 't/a'"):
        await app.send({"name": "t/a"})
    assert transport.batches == []


async def test_an_invoked_function_gets_models_and_datetimes_as_plain_json(app: App) -> None:
    class Parcel(BaseModel):
        kilos: float = Field(alias="kg")
        sent_at: datetime

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.invoke("a", OTHER, Parcel(kg=2, sent_at=datetime(2026, 11, 23, tzinfo=UTC)))

    called = await FakeServer(app, "shop-f").call()
    assert called.ops[0]["opts"]["payload"] == {"data": {"kg": 2.0, "sent_at": "2026-11-23T00:00:00Z"}}
