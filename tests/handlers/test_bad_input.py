"""Messages that cannot be processed: the reason is logged, they become dead letters, and others are not affected."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest

from milepost import App, SyncContext
from milepost_handlers import orchestrator, wiring

from .conftest import World
from .recorded import Context, envelope, sqs_record


def shop() -> App:
    app = App("shop")

    @app.function(id="order", trigger="order/placed")
    def order(ctx: SyncContext) -> object:
        return ctx.event.data

    return app


BAD = [
    ("not json", "the message is not JSON"),
    ('["a list"]', "it is not a JSON object"),
    ('{"hello": "world"}', "it has no id, source, detail-type, detail"),
    (json.dumps(envelope("order/placed", ["a", "list"])), "the detail of 'order/placed' from 'shop.checkout' must be"),
    (json.dumps(envelope("order/placed", None)), "must be a JSON object, but it is NoneType"),
    (json.dumps(envelope("order/placed", {"text": "x" * 3_200_000})), "Event is over the max size"),
    (json.dumps(envelope("order/placed", {"deep": json.loads("[" * 100 + "]" * 100)})), "more than 100 levels deep"),
    (json.dumps(envelope("inngest/function.failed", {})), "event name is reserved for internal use"),
    (json.dumps(envelope("", {})), "event name is empty"),
    (json.dumps(envelope("x", {"name": "x", "data": 5}, source="milepost")), "data of event 'x' must be an object"),
]


@pytest.mark.parametrize(("body", "reason"), BAD, ids=[reason[:40] for _, reason in BAD])
def test_what_is_no_event_is_refused_with_its_reason(
    world: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], body: str, reason: str
):
    with caplog.at_level(logging.INFO):
        answer = world.put(body)
    assert len(answer["batchItemFailures"]) == 1
    [record] = [record for record in caplog.records if record.getMessage() == "message failed"]
    assert "[MP501] An event cannot be processed" in record.error  # type: ignore[attr-defined]
    assert reason in record.error  # type: ignore[attr-defined]
    assert "EventsRefused" in capsys.readouterr().out


def test_a_refused_event_is_counted_once_however_often_it_comes(world: World, capsys: pytest.CaptureFixture[str]):
    world.put("not json", receives=2)
    assert "EventsRefused" not in capsys.readouterr().out


def test_good_events_of_the_same_batch_are_processed(world: World):
    world.serve(shop())
    answer = world.put(envelope("order/placed", {"n": 1}), "not json", envelope("order/placed", {"n": 2}))
    assert len(answer["batchItemFailures"]) == 1
    world.pump()
    assert sorted(run["output"]["n"] for run in world.runs()) == [1, 2]


def test_a_poison_message_reaches_the_dead_letters_and_is_whole_there(world: World):
    from milepost_handlers.intake import handler  # noqa: PLC0415 - after the environment is set

    sqs = world.client("sqs")
    sqs.send_message(QueueUrl=world.events_url, MessageBody="not json")
    redrive = json.dumps({"deadLetterTargetArn": world.arn(world.dead_url), "maxReceiveCount": 2})
    sqs.set_queue_attributes(QueueUrl=world.events_url, Attributes={"RedrivePolicy": redrive})
    letters: list[Any] = []
    for _ in range(40):
        for message in world.receive(world.events_url, wait_seconds=1):
            record = world.record(message["Body"], world.events_url)
            record["receiptHandle"] = message["ReceiptHandle"]
            handler({"Records": [record]}, Context())
        letters = world.receive(world.dead_url)
        if letters:
            break
    assert [letter["Body"] for letter in letters] == ["not json"]


def test_a_table_of_another_schema_version_is_left_alone(world: World, caplog: pytest.LogCaptureFixture):
    item = {"pk": {"S": "META"}, "sk": {"S": "schema"}, "version": {"N": "7"}}
    world.client("dynamodb").put_item(TableName=world.table, Item=item)
    answer = world.put(envelope("order/placed", {}))
    assert len(answer["batchItemFailures"]) == 1
    [record] = [record for record in caplog.records if record.getMessage() == "message failed"]
    assert "[MP502] The table has items of schema version 7; this version of Milepost reads 2" in record.error  # type: ignore[attr-defined]
    count = world.client("dynamodb").scan(TableName=world.table, Select="COUNT")["Count"]
    assert count == 1


def test_an_event_of_an_app_that_nobody_registered_starts_nothing_and_is_kept(world: World):
    assert world.put(envelope("order/placed", {})) == {"batchItemFailures": []}
    assert world.runs() == []
    assert world.here.run(world.here.engine.events.names()) == ["order/placed"]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"t": "teleport", "run": "RUN", "fn": "shop-order"}, "a message of unknown kind 'teleport' for run RUN"),
        ({"t": "start", "run": "RUN"}, r"kind 'start' that does not name its run \(RUN\) and function \(none\)"),
        ({"kind": "else's"}, r"kind None that does not name its run \(none\) and function \(none\)"),
        (["no", "object"], "a message that is not a JSON object"),
    ],
)
def test_a_message_that_is_not_understood_fails_by_name(
    world: World, caplog: pytest.LogCaptureFixture, message: object, said: str
):
    from milepost_handlers.orchestrator import handler  # noqa: PLC0415 - as above

    world.serve(shop())
    world.put(envelope("order/placed", {}))
    run_id = world.runs()[0]["run_id"]
    body = json.loads(json.dumps(message).replace("RUN", run_id))
    answer = handler({"Records": [world.record(body, world.work_url)]}, Context())
    assert len(answer["batchItemFailures"]) == 1
    errors = [str(getattr(record, "error", "")) for record in caplog.records]
    assert any(re.search(r"\[MP401\] .*" + said.replace("RUN", run_id), error) for error in errors), errors


def test_a_lambda_without_its_variables_says_which_one(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MILEPOST_TABLE")
    wiring.deployment.cache_clear()
    with pytest.raises(wiring.MissingVariable, match=r"\[MP504\] The environment variable MILEPOST_TABLE is not set"):
        wiring.deployment()


@pytest.mark.parametrize(("receives", "back_at_once"), [(1, False), (9, False), (10, True)])
def test_a_message_that_failed_is_counted_and_pauses_except_after_its_last_delivery(
    world: World, capsys: pytest.CaptureFixture[str], receives: int, back_at_once: object
):
    world.client("sqs").send_message(QueueUrl=world.work_url, MessageBody='{"t": "of a version to come"}')
    [message] = world.receive(world.work_url)
    record = sqs_record(message["Body"], world.arn(world.work_url), receives=receives, handle=message["ReceiptHandle"])
    answer = orchestrator.handler({"Records": [record]}, Context())
    assert len(answer["batchItemFailures"]) == 1
    assert '"MessagesFailed":[1.0]' in capsys.readouterr().out.replace(" ", "")
    assert bool(world.receive(world.work_url)) is back_at_once
