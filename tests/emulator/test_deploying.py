"""Deploying again while runs are live, deploying what cannot be, and taking the stack down."""

from __future__ import annotations

import pytest

from .cloud import CdkFailedError, Cloud, eventually

pytestmark = pytest.mark.emulator


LONG = "deploy-meanwhile"


def until_it_waits(cloud: Cloud, function: str, name: str) -> None:
    def waits() -> bool:
        found = cloud.runs(function, name)
        return bool(found) and any(span["name"] == "go" for span in cloud.run(found[0]["run_id"])["trace"])

    eventually(waits, f"the run of {function} for {name!r} waits", details=cloud.emulator.output)


def lambda_names(cloud: Cloud) -> set[str]:
    return {made["FunctionName"] for made in cloud.client("lambda").list_functions()["Functions"]}


def test_a_stack_goes_through_its_life(empty_cloud: Cloud):
    """One story, for each chapter needs the one before."""
    cloud = empty_cloud
    cloud.deploy(apps="shop,trials,latest")
    cloud.send("trial/deploy", {"name": "early"})
    cloud.send("trial/leaving", {"name": "early"})
    for function in (f"trials-{LONG}", f"latest-{LONG}", "trials-leaving"):
        until_it_waits(cloud, function, "early")

    # A new version, from files in another folder and under other names of the constructs: live runs stay on the code
    # that they began with, new ones take the new code. Where the app says `versioning="latest"`, live runs take it too.
    # A function that is gone starts nothing more.
    lambdas = lambda_names(cloud)
    cloud.deploy(revision="2", apps="shop,trials,latest", checkout="Second")
    assert lambda_names(cloud) == lambdas
    cloud.send("trial/leaving", {"name": "too-late"})
    cloud.send("trial/deploy", {"name": "later"})
    for function in (f"trials-{LONG}", f"latest-{LONG}"):
        until_it_waits(cloud, function, "later")
    for name in ("early", "later"):
        cloud.send("trial/go", {"name": name})
    assert cloud.ended(f"trials-{LONG}", "early")["output"] == ["1", "1"]
    assert cloud.ended(f"trials-{LONG}", "later")["output"] == ["2", "2"]
    assert cloud.ended(f"latest-{LONG}", "early")["output"] == ["1", "2"]
    assert cloud.ended(f"latest-{LONG}", "later")["output"] == ["2", "2"]
    assert cloud.ended("trials-leaving", "early")["output"] == "ended on the code that had it"
    assert cloud.runs("trials-leaving", "too-late") == []

    # An app that cannot be registered fails the deployment with its reason, and live runs continue.
    with pytest.raises(CdkFailedError, match="throttle"):
        cloud.deploy(revision="2", apps="shop,trials,latest,broken")
    cloud.send("trial/once", {"name": "after-the-refusal"})
    assert cloud.ended("trials-once", "after-the-refusal")["status"] == "Completed"

    # The code of a live run is not deleted: such a deployment fails, and the run continues.
    cloud.send("trial/deploy", {"name": "kept"})
    until_it_waits(cloud, f"latest-{LONG}", "kept")
    with pytest.raises(CdkFailedError, match=f"MP508.*latest-{LONG}"):
        cloud.deploy(revision="2", apps="shop,trials")
    cloud.send("trial/go", {"name": "kept"})
    assert cloud.ended(f"latest-{LONG}", "kept")["status"] == "Completed"
    assert cloud.ended(f"trials-{LONG}", "kept")["status"] == "Completed"

    # An app that is gone starts nothing any more.
    cloud.deploy(revision="2", apps="trials")
    listed = {app["app_id"] for app in cloud.stack_client.get("/apps")["apps"]}
    assert "trials" in listed

    # Taken down: nothing is left but the data.
    table, bucket = cloud.outputs["MilepostTableName"], cloud.outputs["MilepostBucketName"]
    cloud.destroy(revision="2", apps="trials")
    assert cloud.client("lambda").list_functions()["Functions"] == []
    assert cloud.client("sqs").list_queues().get("QueueUrls", []) == []
    assert cloud.client("dynamodb").describe_table(TableName=table)["Table"]["ItemCount"] >= 0
    assert cloud.client("s3").head_bucket(Bucket=bucket)
