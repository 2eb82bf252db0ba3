"""Sending events: they are checked first, and a retry starts no second run."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from milepost import App, Context, Event, NewEvent, SyncContext
from milepost._send.http import HttpApi
from milepost.errors import (
    ConfigError,
    EventMismatchError,
    EventRefusedError,
    NotSerializableError,
    PayloadTooLargeError,
    ReservedEventNameError,
    SendError,
)
from milepost.protocol import MAX_EVENT_BYTES
from milepost.sending import HttpTransport, RecordingTransport

from .fake_server import FakeServer
from .http_server import serving


class Order(BaseModel):
    id: str
    at: datetime


MOMENT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
ORDER = Event("order/created", Order)


async def test_an_event_is_sent_as_a_json_object(app: App, transport: RecordingTransport) -> None:
    order = ORDER.create(Order(id="o1", at=MOMENT), id="order-o1", ts=MOMENT)
    assert await app.send([order, NewEvent("t/b", {"n": 1}), {"name": "t/c"}]) == ["event-1", "event-2", "event-3"]
    assert transport.events == [
        {
            "name": "order/created", "data": {"id": "o1", "at": "2026-11-23T08:00:00Z"},
            "id": "order-o1", "ts": 1795420800000,
        },
        {"name": "t/b", "data": {"n": 1}},
        {"name": "t/c", "data": {}},
    ]  # fmt: skip


def test_sending_without_a_loop_blocks_until_it_is_done(app: App, transport: RecordingTransport) -> None:
    assert app.send_sync({"name": "t/a"}) == ["event-1"]
    assert transport.names == ["t/a"]


async def test_sending_without_await_works_within_a_running_loop_too(app: App) -> None:
    assert app.send_sync({"name": "t/a"}) == ["event-1"]


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"name": "inngest/x"}, ReservedEventNameError),
        ({"name": ""}, ConfigError),
        ({"data": {}}, ConfigError),
        ({"name": "a" * 513}, ConfigError),
        ({"name": "t/a", "data": [1]}, EventMismatchError),
        ({"name": "t/a", "data": {"x": float("nan")}}, NotSerializableError),
        ({"name": "t/a", "data": {"x": object()}}, NotSerializableError),
        ({"name": "t/a", "data": {"x": "y" * 3 * 1024 * 1024}}, PayloadTooLargeError),
        ({"name": "t/a", "ts": datetime(2026, 1, 1)}, ConfigError),  # noqa: DTZ001
        ("t/a", ConfigError),
    ],
)
async def test_an_invalid_event_is_refused_before_anything_is_sent(
    app: App, transport: RecordingTransport, event: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await app.send([{"name": "t/good"}, event] if isinstance(event, dict) else event)
    assert transport.batches == []


async def test_more_than_five_thousand_events_are_sent_in_several_requests(
    app: App, transport: RecordingTransport
) -> None:
    ids = await app.send([{"name": "t/a"} for _ in range(5001)])
    assert [len(batch.events) for batch in transport.batches] == [5000, 1]
    assert len(ids) == 5001
    assert len({batch.seed for batch in transport.batches}) == 2


async def test_large_events_are_sent_in_several_requests_none_larger_than_servers_accept(
    app: App, transport: RecordingTransport
) -> None:
    """By bytes, not characters: an é has two."""
    large = "é" * (MAX_EVENT_BYTES // 2 - 100)
    ids = await app.send([{"name": "t/a", "data": {"text": text}} for text in (large, "a", large, large, "b")])
    assert [[event["data"]["text"][0] for event in batch.events] for batch in transport.batches] == [
        ["é", "a"], ["é"], ["é", "b"],
    ]  # fmt: skip
    assert len(set(ids)) == 5
    assert len({batch.seed for batch in transport.batches}) == 3


async def test_sending_nothing_sends_nothing(app: App, transport: RecordingTransport) -> None:
    assert await app.send([]) == []
    assert transport.batches == []


async def test_without_a_transport_the_error_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match="MILEPOST_EVENT_URL"):
        await App("shop", dev=False).send({"name": "t/a"})


async def test_a_default_transport_stands_in_for_the_environment_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MILEPOST_DEV", "MILEPOST_EVENT_URL", "MILEPOST_EVENT_BUS"):
        monkeypatch.delenv(name, raising=False)
    app, outer, inner = App("shop"), RecordingTransport(), RecordingTransport()
    first, second = app.default_transport(outer), app.default_transport(inner)
    first.__enter__()
    second.__enter__()
    await app.send({"name": "t/a"})
    # They may end in any order.
    first.__exit__(None, None, None)
    app.send_sync({"name": "t/b"})
    second.__exit__(None, None, None)
    assert (outer.names, inner.names) == ([], ["t/a", "t/b"])
    with pytest.raises(ConfigError, match="MILEPOST_EVENT_URL"):
        await app.send({"name": "t/c"})


async def test_a_default_transport_stands_in_for_a_server_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILEPOST_EVENT_URL", "http://127.0.0.1:9")
    app, default = App("shop"), RecordingTransport()
    with app.default_transport(default):
        await app.send({"name": "t/a"})
    assert default.names == ["t/a"]


async def test_a_transport_that_was_given_is_kept_whatever_the_default(app: App, transport: RecordingTransport) -> None:
    default = RecordingTransport()
    with app.default_transport(default):
        await app.send({"name": "t/a"})
    assert (transport.names, default.names) == (["t/a"], [])


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_step_that_sends_again_sends_under_the_same_ids(
    app: App, transport: RecordingTransport, kind: str
) -> None:
    if kind == "async":

        @app.function(id="f", trigger=Event("t/a"))
        async def f(ctx: Context) -> list[str]:
            return await ctx.step.send_event("notify", [{"name": "t/b"}, {"name": "t/c"}])

    else:

        @app.function(id="f", trigger=Event("t/a"))
        def g(ctx: SyncContext) -> list[str]:
            return ctx.step.send_event("notify", [{"name": "t/b"}, {"name": "t/c"}])

    first = FakeServer(app, "shop-f")
    await first.run()
    await FakeServer(app, "shop-f").run()
    await FakeServer(app, "shop-f", run_id="01KB3Y7M8E0000000000000001").run()
    seeds = [batch.seed for batch in transport.batches]
    assert seeds[0] == seeds[1] != seeds[2]
    milliseconds, entropy = seeds[0].split(",")
    assert len(base64.b64decode(entropy)) == 10
    assert int(milliseconds) > 1_700_000_000_000
    assert first.result == ["event-1", "event-2"]
    assert first.calls[0].ops[0]["opts"] == {"type": "step.sendEvent"}


def http(url: str, pauses: list[float] | None = None) -> HttpTransport:
    api = HttpApi(url, pause=(pauses if pauses is not None else []).append)
    return HttpTransport(url, "key one", api=api)


async def test_over_http_a_batch_is_posted_under_the_event_key_with_its_seed() -> None:
    with serving((200, {"ids": ["01A"], "status": 200})) as server:
        assert await App("shop", transport=http(server.url)).send({"name": "t/a"}) == ["01A"]
    heard = server.heard[0]
    assert (heard.method, heard.path, heard.json) == ("POST", "/e/key%20one", [{"name": "t/a", "data": {}}])
    assert heard.headers["x-inngest-event-id-seed"]


async def test_over_http_a_failing_server_is_asked_again_with_the_same_seed() -> None:
    pauses: list[float] = []
    with serving((503, {}), (500, {}), (200, {"ids": ["01A"]})) as server:
        assert await App("shop", transport=http(server.url, pauses)).send({"name": "t/a"}) == ["01A"]
    assert len({heard.headers["x-inngest-event-id-seed"] for heard in server.heard}) == 1
    assert len(pauses) == 2
    assert pauses[1] > pauses[0] * 0.9


async def test_over_http_five_failures_are_an_error_that_names_the_server() -> None:
    with serving((503, {"error": "closed"})) as server, pytest.raises(SendError, match=r"503.*closed") as caught:
        await App("shop", transport=http(server.url)).send({"name": "t/a"})
    assert server.url in str(caught.value)
    assert len(server.heard) == 5


async def test_a_server_that_is_not_there_is_an_error_after_five_tries() -> None:
    with serving() as server:
        url = server.url
    pauses: list[float] = []
    with pytest.raises(SendError, match="Is the server running"):
        await App("shop", transport=http(url, pauses)).send({"name": "t/a"})
    assert len(pauses) == 4


async def test_over_http_the_error_for_a_refused_event_has_the_ids_of_those_before_it() -> None:
    answer = {"ids": ["01A"], "status": 400, "error": "timestamp is before Jan 1, 1980"}
    with serving((400, answer)) as server, pytest.raises(EventRefusedError, match="1980") as caught:
        await App("shop", transport=http(server.url)).send([{"name": "t/a"}, {"name": "t/b", "ts": 1}])
    assert caught.value.ids == ("01A",)
    assert len(server.heard) == 1


async def test_the_ids_of_earlier_requests_are_kept_when_a_later_one_fails() -> None:
    class Failing(RecordingTransport):
        def send(self, batch: Any) -> Any:
            if self.batches:
                raise SendError("down")
            return super().send(batch)

    with pytest.raises(SendError) as caught:
        await App("shop", transport=Failing()).send([{"name": "t/a"} for _ in range(5001)])
    assert len(caught.value.ids) == 5000


async def test_the_environment_says_where_events_go(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving((200, {"ids": ["01A"]})) as server:
        monkeypatch.setenv("MILEPOST_EVENT_URL", server.url)
        monkeypatch.setenv("MILEPOST_EVENT_KEY", "k")
        await App("shop").send({"name": "t/a"})
        monkeypatch.delenv("MILEPOST_EVENT_URL")
        monkeypatch.setenv("MILEPOST_DEV", server.url)
        await App("shop").send({"name": "t/a"})
    assert [heard.path for heard in server.heard] == ["/e/k", "/e/k"]


def test_an_address_that_is_no_url_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a URL"):
        HttpTransport("localhost:8288")


async def test_the_public_test_double_keeps_batches_as_they_were_sent(app: App, transport: RecordingTransport) -> None:
    await app.send({"name": "t/a"})
    assert json.loads(json.dumps(list(transport.batches[0].events))) == [{"name": "t/a", "data": {}}]


async def test_an_event_that_is_too_deep_is_refused_before_it_is_sent(app: App, transport: RecordingTransport) -> None:
    def nested(levels: int) -> Any:
        return {"a": nested(levels - 1)} if levels else 1

    await app.send({"name": "t/a", "data": nested(100)})
    with pytest.raises(NotSerializableError, match=r"event 't/b' has data nested more than 100 levels deep"):
        await app.send([{"name": "t/a"}, {"name": "t/b", "data": nested(101)}])
    assert transport.names == ["t/a"]
