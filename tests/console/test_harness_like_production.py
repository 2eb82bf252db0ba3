"""The harnesses are not kinder than a server: the same events are accepted, the same results, at the same moments."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from milepost import App, Cancel, Context, Cron, FunctionRef, Retries, SyncContext
from milepost.protocol import MAX_EVENT_BYTES, MAX_STEP_OUTPUT_BYTES
from milepost.testing import AwsHarness, Harness

from .served import Served, served

BOTH = pytest.mark.parametrize("kind", [Harness, AwsHarness])
START = datetime(2030, 1, 1, tzinfo=UTC)


def nested(levels: int) -> dict[str, Any]:
    return {"a": nested(levels - 1)} if levels > 1 else {}


def event(name: object = "go", **fields: object) -> dict[str, Any]:
    return {"name": name, **fields}


def as_sent(what: dict[str, Any]) -> bytes:
    return json.dumps(what, ensure_ascii=False, separators=(",", ":")).encode()


def text_of(size: int, letter: str) -> dict[str, str]:
    """Data that makes an event of exactly so many bytes."""
    around = len(as_sent(event(data={"t": ""})))
    return {"t": letter * ((size - around) // len(letter.encode()))}


EVENTS: dict[str, dict[str, Any]] = {
    "no data": event(),
    "null data": event(data=None),
    "a list as data": event(data=[1]),
    "a text as data": event(data="x"),
    "no name": event(""),
    "a number as name": event(7),
    "null as name": event(None),
    "a reserved name": event("inngest/secret"),
    "a name of 512 characters": event("é" * 512),
    "a name of 513 characters": event("a" * 513),
    "a name of 1025 bytes": event("𝄞" * 257),
    "a name with NUL": event("a\0"),
    "an empty id": event(id=""),
    "null as id": event(id=None),
    "a number as id": event(id=7),
    "an id of 512 characters": event(id="x" * 512),
    "an id of 513 characters": event(id="x" * 513),
    "a ts of 0": event(ts=0),
    "a ts of before 1980": event(ts=1),
    "a ts in seconds": event(ts=1893456000),
    "a ts in microseconds": event(ts=1893456000000000),
    "a text as ts": event(ts="2030-01-01"),
    "true as ts": event(ts=True),
    "100 levels": event(data=nested(100)),
    "101 levels": event(data=nested(101)),
    "300 levels": event(data=nested(300)),
    "NaN": event(data={"x": float("nan")}),
    "an infinity": event(data={"x": float("inf")}),
    "a large number": event(data={"x": 10**400}),
    "3 MiB of ASCII": event(data=text_of(MAX_EVENT_BYTES, "a")),
    "3 MiB of é": event(data=text_of(MAX_EVENT_BYTES, "é")),
    "more than 3 MiB of é": event(data=text_of(MAX_EVENT_BYTES + 2, "é")),
    "more than 3 MiB of 𝄞": event(data=text_of(MAX_EVENT_BYTES + 4, "𝄞")),
    "an unknown field": event(colour="red"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served(results(), calm()) as made:
        yield made


def calm() -> App:
    """Listens for nothing that is sent here."""
    return App("calm")


@BOTH
@pytest.mark.parametrize("name", EVENTS)
async def test_an_event_is_accepted_or_refused_as_by_the_dev_server(server: Served, kind: type[Harness], name: str):
    given = dict(EVENTS[name])
    async with kind(calm()) as h:
        try:
            accepted = bool(await h.send(given.pop("name"), **given))
        except ValueError as refused:
            said = str(refused)
        else:
            assert accepted
            said = ""
    answer = await asyncio.to_thread(server.ask, "POST", "/e/k", as_sent(EVENTS[name]))
    theirs = answer.json().get("error", "")
    if name == "300 levels":  # the harness cannot write it, the server cannot read it
        assert said
        assert theirs
        return
    assert (theirs, answer.status_code) == (said, 400 if said else 200)


RESULTS: dict[str, Any] = {
    "4 MiB of ASCII": lambda: "a" * (MAX_STEP_OUTPUT_BYTES - 2),
    "more than 4 MiB of ASCII": lambda: "a" * (MAX_STEP_OUTPUT_BYTES - 1),
    "4 MiB of é": lambda: "é" * (MAX_STEP_OUTPUT_BYTES // 2 - 1),
    "more than 4 MiB of é": lambda: "é" * (MAX_STEP_OUTPUT_BYTES // 2),
    "4 MiB of control characters": lambda: "\x01" * (MAX_STEP_OUTPUT_BYTES // 6),
    "100 levels": lambda: nested(100),
    "101 levels": lambda: nested(101),
    "NaN": lambda: float("nan"),
    "an object": object,
    "a set": lambda: {1},
    "bytes": lambda: b"abc",
    "bytes that are no text": lambda: b"\xff",
    "a moment": lambda: START,
    "a lone surrogate": lambda: "\ud800",
    "a number of 400 digits": lambda: 10**399,
    "integer keys": lambda: {1: "a", False: "b"},
    "a tuple": lambda: (1, (2,)),
    "-0.0": lambda: -0.0,
    "an unknown function": None,
}


def results() -> App:
    """Functions whose step returns one of RESULTS; each as async and sync, step by step and with checkpoints."""
    app = App("results")

    async def step(ctx: Context) -> Any:
        make = RESULTS[ctx.event.data["which"]]
        if make is None:
            return await ctx.step.invoke("call", FunctionRef("no", "where"), {})
        value = await ctx.step.run("make", make)
        return [type(value).__name__, len(value) if isinstance(value, str) else repr(value)]

    def sync(ctx: SyncContext) -> Any:
        make = RESULTS[ctx.event.data["which"]]
        if make is None:
            return ctx.step.invoke("call", FunctionRef("no", "where"), {})
        value = ctx.step.run("make", make)
        return [type(value).__name__, len(value) if isinstance(value, str) else repr(value)]

    app.function(id="async", trigger="result/wanted", retries=0)(step)
    app.function(id="sync", trigger="result/wanted", retries=0)(sync)
    app.function(id="checkpoint", trigger="result/wanted", retries=0, mode="checkpoint")(step)
    return app


def in_short(run: dict[str, Any]) -> tuple[Any, ...]:
    error = run["error"] or {}
    said = re.sub(r"0x[0-9a-f]+|[0-9A-Z]{26}", "…", str(error.get("message")))
    return run["function_id"], run["status"], run["output"], error.get("name"), said


@pytest.fixture(scope="module")
def outcomes(server: Served) -> dict[str, list[tuple[Any, ...]]]:
    """What each result becomes on the dev server."""
    for which in RESULTS:
        server.send({"name": "result/wanted", "data": {"which": which}})
    rows = server.ended(3 * len(RESULTS), app="results")
    found: dict[str, list[tuple[Any, ...]]] = {}
    for row in rows:
        run = server.get(f"/api/runs/{row['run_id']}")
        found.setdefault(run["event"]["data"]["which"], []).append(in_short(run))
    return found


@BOTH
async def test_a_result_becomes_what_it_becomes_on_the_dev_server(
    outcomes: dict[str, list[tuple[Any, ...]]], kind: type[Harness]
):
    async with kind(results()) as h:
        for which in RESULTS:
            await h.send("result/wanted", {"which": which})
        found: dict[str, list[tuple[Any, ...]]] = {}
        for run in await h.runs():
            found.setdefault(run["event"]["data"]["which"], []).append(in_short(run))
    for which in RESULTS:
        assert sorted(found[which], key=repr) == sorted(outcomes[which], key=repr), which
    completed = {which for which, runs in found.items() if all(run[1] == "Completed" for run in runs)}
    assert {"4 MiB of ASCII", "4 MiB of é", "100 levels", "a set"} <= completed
    assert completed.isdisjoint({"more than 4 MiB of ASCII", "more than 4 MiB of é", "101 levels", "NaN", "an object"})


# --- moments --------------------------------------------------------------------------------------------------------


def listeners() -> App:
    app = App("a")

    async def waits(ctx: Context) -> Any:
        found = await ctx.step.wait_for_event("w", "news", timeout="1h")
        return found and found.data

    async def sends_first(ctx: Context) -> Any:
        await ctx.step.run("send", lambda: app.send_sync({"name": "news", "data": {"by": "body"}}))
        return await waits(ctx)

    async def sends_by_a_step(ctx: Context) -> Any:
        await ctx.step.send_event("send", {"name": "news", "data": {"by": "step"}})
        return await waits(ctx)

    app.function(id="waits", trigger="wait")(waits)
    app.function(id="body", trigger="body")(sends_first)
    app.function(id="step", trigger="step")(sends_by_a_step)

    @app.function(id="cancelled", trigger="sleep", cancel_on=Cancel("news"))
    async def cancelled(ctx: Context) -> str:
        await ctx.step.sleep("nap", "1h")
        return "slept"

    return app


@BOTH
@pytest.mark.parametrize("function", ["body", "step"])
async def test_an_event_that_a_run_sends_before_its_wait_does_not_end_it(kind: type[Harness], function: str):
    """The other side that answers at once is the classic race: it needs a look-back."""
    async with kind(listeners()) as h:
        await h.send(function)
        assert (await h.only_run())["status"] == "Running"
        await h.advance("2h")
        assert (await h.only_run())["output"] is None


@BOTH
@pytest.mark.parametrize(("function", "output"), [("wait", None), ("sleep", "slept")])
async def test_an_event_that_the_test_sends_before_a_run_neither_ends_its_wait_nor_cancels_it(
    kind: type[Harness], function: str, output: object
):
    app = listeners()
    async with kind(app) as h:
        await h.send("news", {"n": 1})
        await app.send({"name": "news", "data": {"n": 2}})
        await h.send(function)
        await h.advance("2h")
        assert (await h.only_run())["output"] == output


@BOTH
async def test_an_event_right_after_a_wait_began_ends_it_and_one_right_after_a_run_began_cancels_it(
    kind: type[Harness],
):
    async with kind(listeners()) as h:
        await h.send("wait")
        await h.send("sleep")
        await h.send("news", {"n": 3})
        ended = {run["function_id"]: (run["status"], run["output"]) for run in await h.runs()}
        assert ended == {"a-waits": ("Completed", {"n": 3}), "a-cancelled": ("Cancelled", None)}


@BOTH
async def test_events_are_accepted_in_the_order_in_which_they_were_sent(kind: type[Harness]):
    """Their runs may run side by side, as in production; the ids of these grow with the moment of acceptance."""
    app = App("a")

    @app.function(id="f", trigger="n")
    async def f(ctx: Context) -> int:
        return ctx.event.data["n"]

    async with kind(app) as h:
        for n in range(0, 6, 2):
            await app.send({"name": "n", "data": {"n": n}})
            await h.send("n", {"n": n + 1})
        runs = sorted(await h.runs(), key=lambda run: run["run_id"])
        assert [run["output"] for run in runs] == [0, 1, 2, 3, 4, 5]


@BOTH
async def test_retries_come_after_the_delays_of_the_policy_and_crons_at_their_moments_in_their_zone(
    kind: type[Harness],
):
    app, tries, ticks = App("a"), list[datetime](), list[datetime]()

    @app.function(id="f", trigger="go", retries=Retries(3, first_delay="10s", factor=2, jitter=0))
    async def f(ctx: Context) -> None:
        tries.append(h.clock.now())
        raise OSError

    @app.function(id="cron", trigger=Cron("30 2 * * *", tz="Europe/Paris"))
    async def cron(ctx: Context) -> None:
        ticks.append(h.clock.now())

    async with kind(app, start=datetime(2030, 3, 30, 12, 0, tzinfo=UTC)) as h:
        await h.send("go")
        await h.advance("48h")
    assert [round((one - tries[0]).total_seconds()) for one in tries] == [0, 10, 30, 70]
    # On the 31st there is no 02:30 in Paris: clocks go from 02:00 to 03:00.
    assert [f"{tick:%d %H:%M}" for tick in ticks] == ["31 01:00", "01 00:30"]


async def test_time_passes_by_a_millisecond_for_each_event_and_not_otherwise():
    async with Harness(listeners(), start=START) as h:
        await h.send("wait")
        await h.send("wait")
        assert h.clock.now() == START + timedelta(milliseconds=2)
        await h.advance("1h")
        assert h.clock.now() == START + timedelta(hours=1, milliseconds=2)


@BOTH
async def test_an_app_that_asks_for_signatures_is_called_without(kind: type[Harness]):
    """The signing key of the environment is for calls over the network."""
    app = App("a", signing_key="signkey-test-12345678", dev=False)

    @app.function(id="f", trigger="go", retries=0)
    async def f(ctx: Context) -> int:
        return await ctx.step.run("a", lambda: 1)

    async with kind(app) as h:
        await h.send("go")
        assert (await h.only_run())["output"] == 1
