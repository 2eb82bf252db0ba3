"""What SQS may do to messages: bring them twice, late, in another order, or bring what nobody can read."""

from __future__ import annotations

import json

import pytest

from .cloud import Cloud, eventually

pytestmark = pytest.mark.emulator


def envelope(name: str, data: dict, id_: str) -> str:
    """What EventBridge puts into the queue."""
    return json.dumps(
        {
            "version": "0", "id": id_, "detail-type": name, "source": "tests", "account": "000000000042",
            "time": "2026-11-24T08:00:00Z", "region": "us-east-1", "resources": [], "detail": data,
        }
    )  # fmt: skip


def test_an_event_that_comes_three_times_starts_one_run(cloud: Cloud):
    queue = cloud.outputs["MilepostIntakeQueueUrl"]
    body = envelope("trial/once", {"name": "thrice"}, "5f3a5e2e-0000-0000-0000-000000000001")
    for _ in range(3):
        cloud.client("sqs").send_message(QueueUrl=queue, MessageBody=body)
    run = cloud.ended("trials-once", "thrice")
    eventually(lambda: cloud.idle("MilepostIntakeQueueUrl"), "the intake is done", details=cloud.emulator.output)
    assert run["output"] == 1
    assert cloud.tries("thrice") == 1


def test_work_messages_that_come_twice_and_in_reverse_order_change_nothing(cloud: Cloud):
    queue = cloud.outputs["MilepostQueueUrl"]
    names = [f"shuffled-{number}" for number in range(4)]
    with cloud.queue_stopped("Orchestrator"):
        for name in names:
            cloud.send("trial/once", {"name": name})
        bodies: list[str] = []

        def all_there() -> bool:
            bodies.extend(cloud.drain(queue))
            return len(bodies) >= len(names)

        eventually(all_there, "a work message for each run", details=cloud.emulator.output)
        for body in [*reversed(bodies), *bodies]:
            cloud.client("sqs").send_message(QueueUrl=queue, MessageBody=body)
    for name in names:
        assert cloud.ended("trials-once", name)["output"] == 1
    for body in bodies:  # and once more when all is over
        cloud.client("sqs").send_message(QueueUrl=queue, MessageBody=body)
    eventually(lambda: cloud.idle("MilepostQueueUrl"), "the late ones are processed", details=cloud.emulator.output)
    assert [cloud.tries(name) for name in names] == [1, 1, 1, 1]
