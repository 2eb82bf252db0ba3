"""`AwsHarness`: functions started by real `put_events` calls, over moto's AWS, on a wound clock."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from milepost import App, Context, Event
from milepost_console.testing.aws import AwsHarness


def put(aws: AwsHarness, kind: str, detail: dict[str, Any], source: str = "shop") -> None:
    client = aws.session.client("events")
    entry = {"EventBusName": aws.stack.bus, "Source": source, "DetailType": kind, "Detail": json.dumps(detail)}
    answer = client.put_events(Entries=[entry])
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


async def test_an_event_on_the_bus_starts_a_function_and_a_month_passes():
    mails: list[str] = []
    async with AwsHarness(shop(mails)) as aws:
        put(aws, "order/created", {"order_id": "7"})
        await aws.until_idle()
        assert (await aws.only_run())["status"] == "Running"
        await aws.advance("30d")
        run = await aws.only_run("shop-order")
        assert (run["status"], run["output"], mails) == ("Completed", "paid 7", ["how was it?"])


async def test_an_event_of_an_aws_service_is_named_by_its_source_and_kind():
    async with AwsHarness(shop([])) as aws:
        put(aws, "Object Created", {"object": {"key": "photo.jpg"}}, source="aws.s3")
        await aws.until_idle()
        assert (await aws.only_run())["output"] == "photo.jpg"


async def test_large_values_lie_in_the_bucket():
    app = App("shop")

    @app.function(id="report", trigger=Event("report/wanted"))
    async def report(ctx: Context) -> int:
        noise = await ctx.step.run("make", lambda: random.Random(7).randbytes(20_000).hex())
        await ctx.step.sleep("a while", "1h")
        return len(noise)

    async with AwsHarness(app) as aws:
        put(aws, "report/wanted", {})
        await aws.until_idle()
        s3 = aws.session.client("s3")
        assert s3.list_objects_v2(Bucket=aws.stack.bucket)["KeyCount"] == 1
        s3.close()
        await aws.advance("1h")
        assert (await aws.only_run())["output"] == 40_000


async def test_an_event_that_cannot_be_accepted_is_raised_in_the_test():
    async with AwsHarness(shop([])) as aws:
        put(aws, "inngest/secret", {})
        with pytest.raises(ValueError, match="reserved"):
            await aws.until_idle()


async def test_a_crash_between_two_calls_to_aws_loses_nothing():
    for at in range(0, 42, 7):
        mails: list[str] = []
        async with AwsHarness(shop(mails)) as aws:
            aws.crash_at(at)
            put(aws, "order/created", {"order_id": "7"})
            await aws.until_idle()
            await aws.advance("30d")
            run = await aws.only_run()
            assert (run["status"], run["output"]) == ("Completed", "paid 7"), at
            assert aws.lives == 3, at
