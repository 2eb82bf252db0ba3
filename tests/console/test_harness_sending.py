"""Inside a harness, what an app sends comes to the harness's engine, unless the app has a transport of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from milepost import App, Context, Event, SyncContext
from milepost.errors import ConfigError, EventRefusedError
from milepost.sending import RecordingTransport
from milepost.testing import Harness


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No environment that names a server."""
    for name in ("MILEPOST_DEV", "MILEPOST_EVENT_URL", "MILEPOST_EVENT_BUS"):
        monkeypatch.delenv(name, raising=False)


def asks_in_a_step(app: App) -> None:
    @app.function(id="ask", trigger=Event("go"))
    async def ask(ctx: Context) -> list[str]:
        return await ctx.step.send_event("tell", [{"name": "asked", "data": {"n": 1}}, {"name": "other"}])


def asks_in_a_step_of_a_def(app: App) -> None:
    @app.function(id="ask", trigger=Event("go"))
    def ask(ctx: SyncContext) -> list[str]:
        return ctx.step.send_event("tell", [{"name": "asked", "data": {"n": 1}}, {"name": "other"}])


def asks_by_the_app(app: App) -> None:
    @app.function(id="ask", trigger=Event("go"))
    async def ask(ctx: Context) -> list[str]:
        return await app.send([{"name": "asked", "data": {"n": 1}}, {"name": "other"}])


def asks_by_the_app_in_a_def(app: App) -> None:
    @app.function(id="ask", trigger=Event("go"))
    def ask(ctx: SyncContext) -> list[str]:
        return ctx.step.run("tell", lambda: app.send_sync([{"name": "asked", "data": {"n": 1}}, {"name": "other"}]))


def blocks_in_an_async_function(app: App) -> None:
    @app.function(id="ask", trigger=Event("go"))
    async def ask(ctx: Context) -> list[str]:
        return app.send_sync([{"name": "asked", "data": {"n": 1}}, {"name": "other"}])


WAYS = (
    asks_in_a_step, asks_in_a_step_of_a_def, asks_by_the_app, asks_by_the_app_in_a_def, blocks_in_an_async_function,
)  # fmt: skip


def listens(app: App) -> None:
    @app.function(id="listener", trigger=Event("asked"))
    async def listener(ctx: Context) -> dict[str, Any]:
        return ctx.event.data

    @app.function(id="waiter", trigger=Event("wait"))
    async def waiter(ctx: Context) -> int | None:
        found = await ctx.step.wait_for_event("answer", "asked", timeout="1d")
        return None if found is None else found.data["n"]


@pytest.mark.parametrize("declare", WAYS, ids=lambda way: way.__name__)
async def test_what_a_function_sends_starts_listeners_and_ends_waits(declare: Callable[[App], None]):
    app = App("a")
    declare(app)
    listens(app)
    async with Harness(app) as h:
        await h.send("wait")
        await h.advance("1h")
        await h.send("go")
        asked = await h.only_run("a-ask")
        started = await h.only_run("a-listener")
        waited = await h.only_run("a-waiter")
        assert asked["status"] == "Completed", asked["error"]
        # The ids that the function got are those that the engine knows the events by.
        assert (started["event_id"], started["output"]) == (asked["output"][0], {"n": 1})
        assert (waited["output"], waited["ended_at"] < asked["queued_at"]) == (1, False)


async def test_a_step_that_sends_is_repeated_by_a_crash_at_any_point_and_starts_its_listener_once():
    at = 0
    while True:
        app = App("a")
        asks_in_a_step(app)
        listens(app)
        async with Harness(app) as h:
            h.crash_at(at)
            await h.send("go")
            await h.advance("1h")
            assert (await h.only_run("a-ask"))["status"] == "Completed", at
            assert (await h.only_run("a-listener"))["output"] == {"n": 1}, at
            if h.lives == 2:
                break
        at += 1
    assert at > 20


async def test_what_the_test_sends_through_the_app_is_accepted_when_the_harness_next_works():
    app = App("a")
    listens(app)
    async with Harness(app) as h:
        [first] = await app.send({"name": "asked", "data": {"n": 1}})
        # Blocks the loop that the engine is on.
        [second] = app.send_sync({"name": "asked", "data": {"n": 2}})
        [third] = await asyncio.to_thread(app.send_sync, {"name": "asked", "data": {"n": 3}})
        assert await h.runs() == []
        await h.until_idle()
        assert sorted(run["event_id"] for run in await h.runs()) == sorted([first, second, third])


async def test_a_transport_of_the_apps_own_is_kept():
    transport = RecordingTransport()
    app = App("a", transport=transport)
    asks_in_a_step(app)
    listens(app)
    async with Harness(app) as h:
        await h.send("go")
        assert (await h.only_run())["output"] == ["event-1", "event-2"]
    assert transport.names == ["asked", "other"]


async def test_after_the_harness_the_app_is_as_before(milepost_harness: Callable[..., Harness]):
    app = App("a")
    async with milepost_harness(app):
        await app.send({"name": "asked"})
    with pytest.raises(ConfigError, match="does not know where to send events"):
        await app.send({"name": "asked"})


async def test_an_event_that_the_engine_does_not_accept_raises_where_it_is_sent():
    app = App("a")

    @app.function(id="ask", trigger=Event("go"), retries=0)
    async def ask(ctx: Context) -> None:
        await app.send([{"name": "good"}, {"name": "bad", "ts": 1}])

    async with Harness(app) as h:
        await h.send("go")
        run = await h.only_run()
        assert run["error"]["name"] == "EventRefusedError"
        assert "1 of 2 events were accepted: timestamp is before Jan 1, 1980" in run["error"]["message"]
        with pytest.raises(EventRefusedError, match="1980"):
            await app.send({"name": "bad", "ts": 1})
