"""The shop sample in a deployed stack: EventBridge, queues and Lambdas carry its runs from step to step."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .cloud import Cloud, eventually, step

pytestmark = pytest.mark.emulator


@contextmanager
def broken(cloud: Cloud, service: str) -> Iterator[None]:
    """One of the shop's services is down meanwhile."""
    switches = cloud.outside / "broken.json"
    switches.write_text(json.dumps([service]))
    try:
        yield
    finally:
        switches.write_text("[]")


def calls(cloud: Cloud, word: str) -> Counter[tuple[str, str]]:
    """What reached the shop's services for an order or a user."""
    ledger = cloud.outside / "ledger.jsonl"
    entries = [json.loads(line) for line in ledger.read_text().splitlines() if word in line]
    return Counter((entry["service"], entry["what"]) for entry in entries)


def test_one_event_starts_every_function_that_listens(cloud: Cloud):
    cloud.send("user/signed-up", {"user_id": "ada", "email": "ada@example.com"})
    for function in ("welcome-mail", "default-project", "track-signup"):
        assert cloud.ended(f"shop-{function}", "ada")["status"] == "Completed"
    assert calls(cloud, "ada").total() == 3


def test_a_card_is_charged_once_while_the_next_step_is_tried_again(cloud: Cloud):
    with broken(cloud, "database"):
        cloud.send("order/created", {"order_id": "o-retry"})

        def retrying() -> bool:
            found = cloud.runs("shop-fulfil-order", "o-retry")
            trace = cloud.run(found[0]["run_id"])["trace"] if found else []
            return any(span["name"] == "create fulfilment" and span["attempts"] for span in trace)

        eventually(retrying, "the fulfilment is tried in vain", details=cloud.emulator.output)
    run = cloud.ended("shop-fulfil-order", "o-retry")
    assert run["status"] == "Completed"
    failed = step(run, "create fulfilment")["attempts"][0]["error"]
    assert "database service is down" in failed["message"]
    assert calls(cloud, "o-retry")["payment", "charge"] == 1


def test_two_steps_run_side_by_side(cloud: Cloud):
    cloud.send("order/created", {"order_id": "o-parallel"})
    run = cloud.ended("shop-check-order", "o-parallel")
    assert run["status"] == "Completed"
    assert {step(run, name)["turn"] for name in ("reserve stock", "check fraud")} == {step(run, "check fraud")["turn"]}
    assert calls(cloud, "o-parallel")["database", "insert into reservations"] == 1


def test_a_run_sleeps_waits_for_an_event_and_invokes_another_function(cloud: Cloud):
    cloud.send("order/created", {"order_id": "o-review"})

    def waiting() -> bool:
        found = cloud.runs("shop-ask-for-review", "o-review")
        trace = cloud.run(found[0]["run_id"])["trace"] if found else []
        return any(span["name"] == "delivered" for span in trace)

    eventually(waiting, "the run slept and waits for the delivery", details=cloud.emulator.output)
    cloud.send("order/delivered", {"order_id": "somebody-elses"})
    cloud.send("order/delivered", {"order_id": "o-review"})
    run = cloud.ended("shop-ask-for-review", "o-review")
    assert run["output"] == "mail-send-customer@example.com"
    assert 3000 <= step(run, "let it be packed")["duration_ms"] < 20_000
    assert step(run, "delivered")["kind"] == "wait"
    assert step(run, "ask")["kind"] == "invoke"


def test_an_event_cancels_a_run(cloud: Cloud):
    with broken(cloud, "database"):
        cloud.send("order/created", {"order_id": "o-cancel"})
        eventually(lambda: calls_for(cloud, "o-cancel"), "the card is charged", details=cloud.emulator.output)
        cloud.send("order/cancelled", {"order_id": "o-cancel"})
        assert cloud.ended("shop-fulfil-order", "o-cancel")["status"] == "Cancelled"


def calls_for(cloud: Cloud, order: str) -> int:
    return calls(cloud, order)["payment", "charge"] if (cloud.outside / "ledger.jsonl").exists() else 0


def test_a_run_that_failed_is_replayed_from_its_failed_step_when_the_cause_is_fixed(cloud: Cloud):
    cloud.send("trial/fail", {"name": "ledge"})
    failed = cloud.ended("trials-fail", "ledge")
    assert failed["status"] == "Failed"
    assert "ledge is broken" in failed["error"]["message"]
    (cloud.outside / "ledge.fixed").touch()
    new = cloud.stack_client.post(f"/runs/{failed['run_id']}/replay", {"from_step": "need"})["run_id"]
    replayed = eventually(
        lambda: run if (run := cloud.run(new))["ended_at"] else None, "the replay ends", details=cloud.emulator.output
    )
    assert (replayed["status"], replayed["output"]) == ("Completed", "fixed")
    assert cloud.tries("ledge-before") == 1, "the step before was taken over"


def test_a_large_result_travels_through_the_bucket(cloud: Cloud):
    cloud.send("trial/large", {"name": "bulk"})
    run = cloud.ended("trials-large", "bulk")
    assert (run["status"], run["output"]) == ("Completed", 300_000)
    objects = cloud.client("s3").list_objects_v2(Bucket=cloud.outputs["MilepostBucketName"])
    assert objects["KeyCount"] >= 1


def test_a_function_in_checkpoint_mode_saves_each_of_its_steps(cloud: Cloud):
    cloud.send("trial/many", {"name": "stairs"})
    run = cloud.ended("trials-many", "stairs")
    assert (run["status"], run["output"]) == ("Completed", 45)
    assert len([span for span in run["trace"] if span["kind"] == "run"]) == 10
