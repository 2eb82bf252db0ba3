"""Events are put on an EventBridge bus with boto3; throttled ones are put again with the same ids."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from milepost import App
from milepost.errors import EventRefusedError, PayloadTooLargeError, SendError
from milepost.sending import EventBridgeTransport
from milepost_engine.adapters.clock import WoundClock
from milepost_engine.adapters.random_source import SeededRandom
from milepost_engine.intake.envelopes import read_envelope
from tests.contract.fake_aws import FakeAws, running_fake_aws

TAKEN = {"EventId": "11710aed-b79e-4468-a20b-bb3c0c3b4860"}
THROTTLED = {"ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded"}


@pytest.fixture
def bus() -> Iterator[FakeAws]:
    with running_fake_aws() as fake:
        yield fake


@pytest.fixture
def app(bus: FakeAws) -> Iterator[App]:
    client = boto3.client(
        "events", endpoint_url=bus.url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b",
        config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip
    yield App("shop", transport=EventBridgeTransport("shop-bus", client=client, pause=lambda _: None))
    client.close()


def entries(bus: FakeAws, call: int = 0) -> list[dict[str, Any]]:
    return json.loads(bus.seen[call].body)["Entries"]


def taken(count: int) -> tuple[int, Any]:
    return 200, {"FailedEntryCount": 0, "Entries": [TAKEN] * count}


def test_an_event_is_put_whole_with_the_id_that_it_will_have(app: App, bus: FakeAws):
    bus.will_answer(taken(1))
    [event_id] = app.send_sync({"name": "order/placed", "data": {"id": 7}, "id": "order-7"})
    [entry] = entries(bus)
    assert {key: entry[key] for key in ("EventBusName", "Source", "DetailType")} == {
        "EventBusName": "shop-bus", "Source": "milepost", "DetailType": "order/placed",
    }  # fmt: skip
    assert json.loads(entry["Detail"]) == {
        "event_id": event_id, "name": "order/placed", "data": {"id": 7}, "id": "order-7",
    }  # fmt: skip


def test_the_engine_reads_from_the_envelope_what_was_sent(app: App, bus: FakeAws):
    bus.will_answer(taken(1))
    [event_id] = app.send_sync({"name": "order/placed", "data": {"id": 7}, "id": "order-7", "ts": 1795420800000})
    [entry] = entries(bus)
    envelope = {
        "id": "1-2-3", "source": entry["Source"], "detail-type": entry["DetailType"], "time": "2026-03-02T09:00:00Z",
        "detail": json.loads(entry["Detail"]),
    }  # fmt: skip
    event = read_envelope(envelope, now=WoundClock().now(), random_source=SeededRandom(1))
    assert (event.event_id, event.client_id) == (event_id, "order-7")
    assert (event.name, event.data, event.ts) == ("order/placed", {"id": 7}, 1795420800000)


def test_many_events_are_put_ten_at_a_time(app: App, bus: FakeAws):
    bus.will_answer(taken(10), taken(10), taken(3))
    ids = app.send_sync([{"name": f"t/{number}"} for number in range(23)])
    assert [len(entries(bus, call)) for call in range(3)] == [10, 10, 3]
    assert len(set(ids)) == 23


def test_events_that_are_too_large_together_are_put_separately(app: App, bus: FakeAws):
    bus.will_answer(taken(2), taken(1))
    app.send_sync([{"name": "t/a", "data": {"text": "x" * 400_000}} for _ in range(3)])
    assert [len(entries(bus, call)) for call in range(2)] == [2, 1]


def test_an_entry_that_was_throttled_is_put_again_alone_with_the_same_id(app: App, bus: FakeAws):
    bus.will_answer((200, {"FailedEntryCount": 1, "Entries": [TAKEN, THROTTLED, TAKEN]}), taken(1))
    ids = app.send_sync([{"name": "t/a"}, {"name": "t/b"}, {"name": "t/c"}])
    [again] = entries(bus, 1)
    assert again == entries(bus, 0)[1]
    assert json.loads(again["Detail"])["event_id"] == ids[1]


def test_a_bus_that_stays_busy_is_an_error_that_names_what_was_put(app: App, bus: FakeAws):
    bus.will_answer(taken(10), *[(200, {"FailedEntryCount": 1, "Entries": [THROTTLED]})] * 5)
    with pytest.raises(SendError, match=r"did not accept 1 events in 5 tries; last error: Throttling"):
        app.send_sync([{"name": f"t/{number}"} for number in range(11)])


def test_an_entry_refused_for_good_is_not_put_again(app: App, bus: FakeAws):
    bus.will_answer((200, {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "MalformedDetail", "ErrorMessage": "no"}]}))
    with pytest.raises(EventRefusedError, match="refused event 't/a': MalformedDetail: no"):
        app.send_sync({"name": "t/a"})
    assert len(bus.seen) == 1


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "AccessDeniedException", EventRefusedError),
        (400, "ResourceNotFoundException", EventRefusedError),
        (400, "ThrottlingException", SendError),
        (500, "InternalException", SendError),
    ],
)
def test_a_refused_call_says_whether_trying_again_helps(
    app: App, bus: FakeAws, status: int, code: str, kind: type[Exception]
):
    bus.will_answer((status, {"__type": code, "message": "refused"}))
    with pytest.raises(kind, match=code):
        app.send_sync({"name": "t/a"})


def test_an_event_over_one_megabyte_is_refused_before_it_is_sent(app: App, bus: FakeAws):
    with pytest.raises(PayloadTooLargeError, match="EventBridge takes at most 999000"):
        app.send_sync({"name": "t/a", "data": {"text": "x" * 1_000_000}})
    assert bus.seen == []


def test_a_bus_in_the_environment_is_where_events_go(monkeypatch: pytest.MonkeyPatch, bus: FakeAws):
    variables = {
        "MILEPOST_EVENT_BUS": "shop-bus", "AWS_ENDPOINT_URL_EVENTBRIDGE": bus.url, "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    bus.will_answer(taken(1))
    App("shop").send_sync({"name": "t/a"})
    assert [entry["EventBusName"] for entry in entries(bus)] == ["shop-bus"]
