"""`milepost … --stack NAME`: the commands over a deployed stack, with boto3 and moto's AWS."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from milepost import App, Context, Event, Retries
from milepost_console.testing.aws import AwsHarness

from .rig import NAME, announce, milepost, refused

pytestmark = pytest.mark.usefixtures("no_environment")


def shop(broken: list[str]) -> App:
    app = App("shop")

    @app.function(
        id="order", trigger=Event("order/created"), retries=Retries(max_retries=1, first_delay="1s", jitter=0)
    )
    async def order(ctx: Context) -> str:
        await ctx.step.run("charge", lambda: "paid")
        if broken:
            raise RuntimeError(f"the {broken[0]} is down")
        return "done"

    @app.function(id="nap", trigger=Event("nap/wanted"))
    async def nap(ctx: Context) -> None:
        await ctx.step.sleep("nap", "3d")

    return app


async def test_runs_are_listed_and_shown_from_the_table():
    async with AwsHarness(shop([]), name=NAME) as aws:
        announce(aws)
        await aws.send("order/created", {"order_id": "7"})
        [row] = (await milepost("runs", "list", "--json")).json["runs"]
        assert (row["function_id"], row["status"]) == ("shop-order", "Completed")
        shown = (await milepost("runs", "show", row["run_id"][-6:])).text
        assert "charge" in shown
        assert '"paid"' in shown


async def test_an_event_is_sent_to_the_stacks_own_lambdas_and_its_run_is_cancelled():
    async with AwsHarness(shop([]), name=NAME) as aws:
        announce(aws)
        await milepost("send", "nap/wanted", "--data", '{"hours": 1}')
        assert await aws.runs() == []
        await aws.until_idle()
        run = await aws.only_run()
        assert (run["status"], run["event"]["data"]) == ("Running", {"hours": 1})
        assert "1 of 1 runs cancelled" in (await milepost("runs", "cancel", "--all", "--yes")).text
        await aws.until_idle()
        assert (await aws.only_run())["status"] == "Cancelled"


async def test_a_failed_run_is_replayed_from_the_step_that_failed():
    broken = ["database"]
    # The command's clock is the machine's, so the story begins today.
    async with AwsHarness(shop(broken), name=NAME, start=datetime.now(UTC)) as aws:
        announce(aws)
        await aws.send("order/created")
        await aws.advance("1m")
        [failed] = (await milepost("runs", "list", "--status", "failed", "--json")).json["runs"]
        broken.clear()
        replayed = await milepost("runs", "replay", failed["run_id"], "--data", '{"again": true}', "--json")
        await aws.until_idle()
        [done] = (await milepost("runs", "list", "--status", "completed", "--json")).json["runs"]
        assert done["origin_run_id"] == failed["run_id"]
        assert replayed.json["done"] == [done["run_id"]]


async def test_events_functions_and_apps_are_listed():
    async with AwsHarness(shop([]), name=NAME) as aws:
        announce(aws)
        event_id = await aws.send("order/created", {"order_id": "7"})
        assert event_id in (await milepost("events", "list")).text
        assert '"order_id": "7"' in (await milepost("events", "show", event_id)).text
        functions = (await milepost("functions", "list", "--json")).json["functions"]
        assert [row["function_id"] for row in functions] == ["shop-nap", "shop-order"]
        assert (await milepost("apps", "list", "--json")).json["apps"][0]["app_id"] == "shop"
        await milepost("functions", "pause", "shop-order")
        assert (await milepost("functions", "list", "--json")).json["functions"][1]["paused"] is True
        assert "stack, milepost" in (await milepost("doctor")).text


async def test_an_app_is_not_added_by_its_address():
    async with AwsHarness(shop([]), name=NAME) as aws:
        announce(aws)
        with refused("MP319"):
            await milepost("apps", "add", "http://127.0.0.1:1")


async def test_dead_letters_are_seen_and_delivered_again_to_the_queue_that_they_came_from():
    async with AwsHarness(shop([]), name=NAME) as aws:
        announce(aws)
        sqs = aws.session.client("sqs")
        intake, work, undelivered = aws.stack.dead_letters
        sqs.send_message(QueueUrl=intake, MessageBody="from the bus")
        sqs.send_message(QueueUrl=work, MessageBody="about a run")
        why = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in {"ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": "the queue refused"}.items()
        }
        sqs.send_message(QueueUrl=undelivered, MessageBody="never came", MessageAttributes=why)
        for _ in range(2):  # listing changes nothing
            listed = (await milepost("dead-letters", "list", "--json")).json["dead_letters"]
            assert sorted(row["body"] for row in listed) == ["about a run", "from the bus", "never came"]
        by_body = {row["body"]: row for row in listed}
        assert by_body["never came"]["problem"] == "NO_PERMISSIONS: the queue refused"
        chosen = by_body["about a run"]
        assert "1 message redriven" in (await milepost("redrive", chosen["id"])).text
        assert bodies(sqs, aws.stack.queue) == ["about a run"]
        assert "2 messages redriven" in (await milepost("redrive", "--all")).text
        assert bodies(sqs, aws.stack.intake_queue) == ["from the bus", "never came"]
        assert (await milepost("dead-letters", "list", "--json")).json["dead_letters"] == []
        sqs.close()


def bodies(sqs, url: str) -> list[str]:
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return sorted(message["Body"] for message in messages)


async def test_a_run_is_erased_with_its_event():
    async with AwsHarness(shop([]), name=NAME) as aws:
        announce(aws)
        event_id = await aws.send("order/created", {"secret": "x" * 20_000})
        run_id = (await aws.only_run())["run_id"]
        await milepost("erase", run_id, "--yes")
        with refused("MP301"):
            await milepost("runs", "show", run_id)
        with refused("MP306"):
            await milepost("events", "show", event_id)


async def test_an_unknown_stack_is_named_with_its_region():
    async with AwsHarness(name=NAME) as aws:
        announce(aws)
        with refused("MP330") as messages:
            await milepost("runs", "list", stack="shopp")
        assert "no stack 'shopp' in us-east-1" in messages[0]


async def test_a_stack_without_milepost_is_refused():
    async with AwsHarness(name=NAME) as aws:
        announce(aws, MilepostTableName="")
        with refused("MP331") as messages:
            await milepost("runs", "list")
        assert "MilepostTableName" in messages[0]


async def test_a_table_of_another_version_is_not_touched():
    async with AwsHarness(shop([]), name=NAME) as aws:
        announce(aws)
        await aws.engine.queries.table.put({"pk": "META", "sk": "schema", "version": 99})
        with refused("MP502") as messages:
            await milepost("runs", "list")
        assert "schema version 99" in messages[0]


async def test_a_refusal_of_aws_names_the_call():
    async with AwsHarness(name=NAME) as aws:
        announce(aws, MilepostTableName="gone")
        with refused("MP333") as messages:
            await milepost("runs", "list")
        assert "GetItem (ResourceNotFoundException" in messages[0]


async def test_without_credentials_the_error_says_how_to_log_in(monkeypatch: pytest.MonkeyPatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with refused("MP332") as messages:
        await milepost("runs", "list")
    assert "aws sso login" in messages[0]
