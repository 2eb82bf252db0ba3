"""`AwsHarness` does what docs/testing.md says: real boto3 calls start functions, over moto's AWS, on a wound clock."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import boto3
import pytest
from moto import mock_aws

from milepost import App, Context, Event
from milepost.testing import AwsHarness


def put(kind: str, detail: dict[str, Any], source: str = "shop", **more: Any) -> None:
    client = boto3.client("events")
    entry = {"EventBusName": os.environ["MILEPOST_EVENT_BUS"], "Source": source, "DetailType": kind}
    answer = client.put_events(Entries=[{**entry, "Detail": json.dumps(detail), **more}])
    client.close()
    assert answer["FailedEntryCount"] == 0


def shop(mails: list[str]) -> App:
    app = App("shop")

    @app.function(id="order", trigger=Event("order/created"))
    async def order(ctx: Context) -> str:
        payment = await ctx.step.run("charge", lambda: f"paid {ctx.event.data['order_id']}")
        await ctx.step.sleep("until it arrives", "30d")
        await ctx.step.run("ask", lambda: mails.append("how was it?"))
        return payment

    @app.function(id="scan", trigger=Event("aws.s3/Object Created"))
    def scan(ctx: Any) -> str:
        return ctx.event.data["object"]["key"]

    return app


async def test_an_event_on_the_bus_starts_a_function_and_a_month_passes(milepost_aws):
    mails: list[str] = []
    async with milepost_aws(shop(mails)) as aws:
        put("order/created", {"order_id": "7"})
        await aws.until_idle()
        assert (await aws.only_run())["status"] == "Running"
        await aws.advance("30d")
        run = await aws.only_run("shop-order")
        assert (run["status"], run["output"], mails) == ("Completed", "paid 7", ["how was it?"])


async def test_an_object_put_into_a_bucket_starts_a_function(milepost_aws):
    async with milepost_aws(shop([])) as aws:
        aws.feed({"source": ["aws.s3"], "detail-type": ["Object Created"]})
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="photos")
        configuration: dict[str, Any] = {"EventBridgeConfiguration": {}}
        s3.put_bucket_notification_configuration(Bucket="photos", NotificationConfiguration=configuration)
        s3.put_object(Bucket="photos", Key="cat.jpg", Body=b"meow")
        s3.close()
        await aws.until_idle()
        assert (await aws.only_run())["output"] == "cat.jpg"


async def test_the_same_event_delivered_twice_starts_one_run(milepost_aws):
    async with milepost_aws(shop([])) as aws:
        put("order/created", {"order_id": "7"})
        sqs = boto3.client("sqs")
        [message] = sqs.receive_message(QueueUrl=aws.stack.intake_queue, VisibilityTimeout=0)["Messages"]
        sqs.send_message(QueueUrl=aws.stack.intake_queue, MessageBody=message["Body"])
        sqs.close()
        await aws.until_idle()
        assert len(await aws.runs()) == 1


async def test_large_values_lie_in_the_bucket(milepost_aws):
    app = App("shop")

    @app.function(id="report", trigger=Event("report/wanted"))
    async def report(ctx: Context) -> int:
        noise = await ctx.step.run("make", lambda: random.Random(7).randbytes(20_000).hex())
        await ctx.step.sleep("a while", "1h")
        return len(noise)

    async with milepost_aws(app) as aws:
        put("report/wanted", {})
        await aws.until_idle()
        s3 = boto3.client("s3")
        assert s3.list_objects_v2(Bucket=aws.stack.bucket)["KeyCount"] == 1
        s3.close()
        await aws.advance("1h")
        assert (await aws.only_run())["output"] == 40_000


async def test_an_event_that_cannot_be_processed_is_raised_in_the_test(milepost_aws):
    async with milepost_aws(shop([])) as aws:
        put("inngest/secret", {})
        with pytest.raises(ValueError, match="reserved"):
            await aws.until_idle()


async def test_what_functions_and_the_test_send_goes_over_the_bus(milepost_aws):
    app = shop([])

    @app.function(id="clerk", trigger=Event("clerk/called"))
    async def clerk(ctx: Context) -> list[str]:
        return await ctx.step.send_event("order", {"name": "order/created", "data": {"order_id": "8"}})

    async with milepost_aws(app) as aws:
        sqs, events = boto3.client("sqs"), boto3.client("events")
        url = sqs.create_queue(QueueName="mine")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events.put_rule(Name="mine", EventBusName=aws.stack.bus, EventPattern=json.dumps({"source": ["milepost"]}))
        events.put_targets(Rule="mine", EventBusName=aws.stack.bus, Targets=[{"Id": "mine", "Arn": arn}])
        await app.send({"name": "clerk/called"})
        await aws.until_idle()
        [ordered] = await aws.runs("shop-order")
        called = await aws.only_run("shop-clerk")
        assert (ordered["event"]["data"], [ordered["event_id"]]) == ({"order_id": "8"}, called["output"])
        heard = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
        assert sorted(json.loads(each["Body"])["detail-type"] for each in heard) == ["clerk/called", "order/created"]
        sqs.close()
        events.close()


async def test_a_crash_between_two_calls_to_aws_loses_nothing(milepost_aws):
    for at in range(0, 42, 7):
        async with milepost_aws(shop([])) as aws:
            aws.crash_at(at)
            put("order/created", {"order_id": "7"})
            await aws.until_idle()
            await aws.advance("30d")
            run = await aws.only_run()
            assert (run["status"], run["output"]) == ("Completed", "paid 7"), at
            assert aws.lives == 3, at


async def test_moto_of_the_users_own_works_inside_and_after(milepost_aws, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="mine")
        async with milepost_aws(shop([])) as aws:
            put("order/created", {"order_id": "7"})
            await aws.until_idle()
            assert len(await aws.runs()) == 1
        names = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
        s3.close()
    assert "mine" in names


def test_the_harness_is_exported():
    assert AwsHarness.__module__ == "milepost_console.testing.aws"
