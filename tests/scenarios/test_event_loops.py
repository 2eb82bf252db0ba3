"""Functions that start each other in a circle are stopped at a limit; what takes its time is no loop."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Literal

import pytest

from milepost import App, Context, Event
from milepost.errors import ConfigError
from milepost.sending import EventBridgeTransport
from milepost_engine.intake.envelopes import read_envelope

from .rig import rig


class Bus:
    """Stands in for a client of EventBridge: keeps what is put on the bus, as the intake's queue would get it."""

    def __init__(self) -> None:
        self.envelopes: list[dict[str, Any]] = []

    def put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803 - boto3's word
        for entry in Entries:
            self.envelopes.append({
                "id": f"on the bus {len(self.envelopes)}",
                "source": entry["Source"],
                "detail-type": entry["DetailType"],
                "time": "2026-03-02T09:00:00Z",
                "detail": json.loads(entry["Detail"]),
            })  # fmt: skip
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}] * len(Entries)}


How = Literal["step.send_event", "app.send in a step", "app.send outside of steps"]


def circle(how: How, mode: Any, most: int = 8, pause: str = "") -> tuple[App, list[int]]:
    """A function that sends the event that starts it."""
    app, bodies = App("a", max_chain=most), list[int]()

    @app.function(id="f", trigger="again", mode=mode, retries=0)
    async def f(ctx: Context) -> None:
        n = int(str(ctx.event.data["n"]))
        await ctx.step.run("body", bodies.append, n)
        if pause:
            await ctx.step.sleep("pause", pause)
        following = {"name": "again", "data": {"n": n + 1}}
        match how:
            case "step.send_event":
                await ctx.step.send_event("again", following)
            case "app.send in a step":
                await ctx.step.run("again", app.send, following)
            case "app.send outside of steps":
                await app.send(following)

    return app, bodies


class ToRig:
    """A transport into the engine of a rig."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, batch: Any) -> list[str]:
        self.sent += [dict(event) for event in batch.events]
        return ["id"] * len(batch.events)


async def go_round(app: App, span: timedelta, rounds: int, n: int = 0) -> dict[str, int]:
    """Let the function go round; returns how many runs ended how, and prints no more than the engine does."""
    to_rig = ToRig()
    async with rig(app) as r:
        with app.default_transport(to_rig):
            await r.send("again", {"n": n})
            for _ in range(rounds):
                await r.wind(span)
                for event in to_rig.sent:
                    read = await r.engine.accept(event)
                    assert not read.problem
                to_rig.sent.clear()
                await r.settle()
        runs = await r.runs()
        failed = [run["error"]["message"] for run in runs if run["status"] == "Failed"]
        for message in failed:
            assert "'again'" in message
            assert "function 'a-f', run" in message
            assert "number 9 of a chain" in message
            assert "max_chain" in message
        return {status: sum(run["status"] == status for run in runs) for status in ("Completed", "Failed")}


@pytest.mark.parametrize("mode", ["step", "checkpoint"])
@pytest.mark.parametrize("how", ["step.send_event", "app.send in a step", "app.send outside of steps"])
async def test_a_function_that_starts_itself_is_stopped_at_the_limit(how: How, mode: Any):
    app, bodies = circle(how, mode)
    ended = await go_round(app, timedelta(seconds=1), 20)
    assert ended == {"Completed": 8, "Failed": 1}
    assert bodies == list(range(9))


async def test_a_function_that_continues_itself_after_a_pause_is_no_loop():
    app, bodies = circle("step.send_event", "step", pause="11m")
    ended = await go_round(app, timedelta(minutes=12), 20)
    assert ended["Failed"] == 0
    assert len(bodies) >= 20


async def test_an_early_warning_names_the_run(caplog: pytest.LogCaptureFixture):
    app, _ = circle("step.send_event", "step")
    await go_round(app, timedelta(seconds=1), 20)
    warnings = [record.getMessage() for record in caplog.records if "of a chain" in record.getMessage()]
    assert [("number 5" in text, "function 'a-f', run" in text) for text in warnings] == [(True, True)]


async def test_functions_that_invoke_each_other_are_stopped_at_the_limit():
    app, bodies = App("a", max_chain=8), list[int]()

    @app.function(id="f", trigger="go", retries=0)
    async def f(ctx: Context) -> None:
        bodies.append(1)
        await ctx.step.invoke("self", f, {})

    async with rig(app) as r:
        await r.send("go")
        runs = await r.runs()
        assert len(runs) == 9
        assert {run["status"] for run in runs} == {"Failed"}
        assert "number 9 of a chain" in runs[0]["error"]["message"]


async def test_a_circle_over_eventbridge_is_stopped_at_the_limit():
    app, bodies = circle("app.send in a step", "step")
    bus = Bus()
    async with rig(app) as r:
        with app.default_transport(EventBridgeTransport("bus", client=bus)):
            await r.send("again", {"n": 0})
            for _ in range(20):
                waiting, bus.envelopes = bus.envelopes, []
                for envelope in waiting:
                    event = read_envelope(envelope, now=r.clock.now(), random_source=r.engine.random_source)
                    await r.engine.intake.take(event, redelivered=False)
                await r.settle()
        assert bodies == list(range(9))
        [failed] = [run for run in await r.runs() if run["status"] == "Failed"]
        assert failed["error"]["name"] == "EventLoopError"
        assert "in step 'again' of function 'a-f', run" in failed["error"]["message"]


async def test_an_event_beyond_the_limit_starts_nothing_and_says_why():
    """Whatever sent it: the intake holds the limit, too."""
    app, bodies = App("a", max_chain=8), list[str]()

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> None:
        bodies.append("f")

    async with rig(app) as r:
        for place in (8, 9):
            event_id = await r.send("go", milepost={"chain": place})
        assert bodies == ["f"]
        found = await r.engine.queries.event(event_id)
        assert found is not None
        assert "number 9 of a chain" in found["skipped"]["a-f"]  # type: ignore[index]


@pytest.mark.parametrize("given", [0, -1, True, "50", None, 1.5])
def test_a_limit_out_of_range_is_refused(given: Any):
    with pytest.raises(ConfigError, match=r"app 'a'.*max_chain"):
        App("a", max_chain=given)
