"""Messages that a deployed stack cannot process: the log says why, the message is kept, and others are not blocked.

That an alarm watches each of these is looked up in the template (`tests/infra/test_watching.py`). Every other kind of
bad event is tried in `tests/handlers/test_bad_input.py`; one of each way in is tried here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from milepost import App, Context
from milepost.protocol import bearer

from .cloud import Cloud, eventually

pytestmark = pytest.mark.emulator


def logged(cloud: Cloud, part: str, *words: str) -> None:
    """Wait for an error in a Lambda's log that says all of this."""

    def found() -> bool:
        errors = [json.dumps(line) for line in cloud.log(part) if line.get("level") == "ERROR"]
        return any(all(word in error for word in words) for error in errors)

    eventually(found, f"the {part} says {words}", details=cloud.emulator.output)


def test_an_invalid_event_is_logged_becomes_a_complete_dead_letter_and_blocks_nothing(cloud: Cloud):
    queue, bus = cloud.outputs["MilepostIntakeQueueUrl"], {"EventBusName": cloud.outputs["MilepostBusName"]}
    no_object = {**bus, "Source": "tests", "DetailType": "trial/once", "Detail": "[1, 2]"}
    reserved = {**bus, "Source": "tests", "DetailType": "inngest/function.failed", "Detail": '{"n": 1}'}
    cloud.client("events").put_events(Entries=[no_object, reserved])
    cloud.client("sqs").send_message(QueueUrl=queue, MessageBody="{ no event")
    cloud.send("trial/once", {"name": "behind-poison"})
    assert cloud.ended("trials-once", "behind-poison")["status"] == "Completed"
    for said in ("must be a JSON object, but it is list", "event name is reserved", "the message is not JSON"):
        logged(cloud, "Intake", "[MP501] An event cannot be processed", said)
    letters: list[str] = []

    def dead() -> bool:
        letters.extend(cloud.drain(cloud.dead_letters("Events")))
        return len(letters) == 3

    eventually(dead, "the three are dead", details=cloud.emulator.output)
    assert "{ no event" in letters
    details = [json.loads(letter)["detail"] for letter in letters if letter != "{ no event"]
    assert sorted(map(str, details)) == ["[1, 2]", "{'n': 1}"]


def test_an_event_over_the_limit_is_refused_to_its_sender(cloud: Cloud):
    event = {"name": "trial/once", "data": {"name": "too-large", "more": "x" * (3 * 1024 * 1024)}}
    answer = cloud.ask("POST", f"/e/{cloud.key('EventKey')}", event)
    assert (answer.status_code, "over the max size" in answer.json()["error"]) == (400, True), answer.text


def test_a_message_of_another_version_is_logged_and_kept(cloud: Cloud):
    cloud.send("trial/once", {"name": "teleported"})
    run = cloud.ended("trials-once", "teleported")
    body = json.dumps({"t": "teleport", "run": run["run_id"], "fn": run["function_id"]})
    cloud.client("sqs").send_message(QueueUrl=cloud.outputs["MilepostQueueUrl"], MessageBody=body)
    logged(cloud, "Orchestrator", "[MP401] the work queue has a message of unknown kind 'teleport'", run["run_id"])
    # Its tenth try, after which it is a dead letter, comes in an hour: it waits for that in its queue.
    kept = ["ApproximateNumberOfMessagesNotVisible"]
    attributes = cloud.client("sqs").get_queue_attributes(
        QueueUrl=cloud.outputs["MilepostQueueUrl"], AttributeNames=kept
    )
    assert attributes["Attributes"][kept[0]] == "1"
    cloud.client("sqs").purge_queue(QueueUrl=cloud.outputs["MilepostQueueUrl"])


def test_an_app_that_speaks_a_later_version_is_not_registered_and_the_reason_is_given(cloud: Cloud):
    app = App("later")

    @app.function(id="f", trigger="later/go")
    async def f(ctx: Context) -> None: ...

    manifest = app.manifest("http://127.0.0.1:9/api")
    manifest["milepost_version"] = 2
    answer = cloud.ask("POST", "/fn/register", manifest, authorization=bearer(cloud.key("SigningKey")))
    assert answer.status_code == 400
    assert "upgrade Milepost" in answer.text, answer.text
    assert cloud.stack_client.get("/apps")["apps"]


@contextmanager
def table_of_version(cloud: Cloud, version: int) -> Iterator[None]:
    """The table claims to be of another version meanwhile, and fresh Lambdas read it."""
    table, key = cloud.outputs["MilepostTableName"], {"pk": {"S": "META"}, "sk": {"S": "schema"}}
    client = cloud.client("dynamodb")
    ours = client.get_item(TableName=table, Key=key)["Item"]
    client.put_item(TableName=table, Item={**key, "version": {"N": str(version)}})
    cloud.start_anew("Intake")
    try:
        yield
    finally:
        client.put_item(TableName=table, Item=ours)


def test_a_table_of_another_version_is_left_alone_and_the_event_waits_for_the_right_one(cloud: Cloud):
    with table_of_version(cloud, 7):
        cloud.send("trial/once", {"name": "between-versions"})
        logged(cloud, "Intake", "[MP502] The table has items of schema version 7")
        assert cloud.runs("trials-once", "between-versions") == []
    assert cloud.ended("trials-once", "between-versions")["status"] == "Completed"
