"""`milepost logs RUN --stack`: the lines of one run, from the engine's logs and the app's."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from milepost_console.server.app import build_app
from milepost_console.stack.logs import StackRunLogs
from milepost_console.stack.wiring import open_stack
from milepost_console.testing.aws import AwsHarness
from milepost_engine.adapters.clock import SystemClock
from milepost_engine.ports import Target

from .rig import NAME, announce, milepost
from .test_commands import shop

pytestmark = pytest.mark.usefixtures("no_environment")


def write(client: Any, group: str, *messages: str) -> None:
    now = round(datetime.now(UTC).timestamp() * 1000)
    client.create_log_group(logGroupName=group)
    client.create_log_stream(logGroupName=group, logStreamName="a")
    events = [{"timestamp": now + place, "message": message} for place, message in enumerate(messages)]
    client.put_log_events(logGroupName=group, logStreamName="a", logEvents=events)


def make_lambda(aws: AwsHarness, name: str) -> str:
    role = "arn:aws:iam::123456789012:role/app"
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", "")
    iam = aws.session.client("iam")
    iam.create_role(RoleName="app", AssumeRolePolicyDocument="{}")
    client = aws.session.client("lambda")
    made = client.create_function(
        FunctionName=name, Role=role, Runtime="python3.13", Handler="app.handler", Code={"ZipFile": code.getvalue()},
    )  # fmt: skip
    iam.close()
    client.close()
    return made["FunctionArn"]


async def test_a_runs_lines_are_printed_in_order_from_the_engines_log_and_the_apps():
    app = shop([])
    async with AwsHarness(app, name=NAME, start=datetime.now(UTC)) as aws:
        announce(aws)
        await aws.send("order/created")
        run_id = (await aws.only_run())["run_id"]
        address = make_lambda(aws, "shop-app")
        await aws.engine.registry.sync(app.manifest("https://lambda.invalid/"), Target("lambda", address))
        logs = aws.session.client("logs")
        failed = {"level": "WARNING", "message": "attempt failed", "run_id": run_id, "step": "charge", "attempt": 1}
        write(
            logs, aws.stack.log_groups[0], json.dumps(failed), json.dumps({"message": "run of another", "run_id": "x"})
        )
        write(logs, "/aws/lambda/shop-app", f"the app prints {run_id}\n", "a line of another run")
        logs.close()
        printed = await milepost("logs", run_id[-8:])
        assert "[charge #1] attempt failed" in printed.text
        assert f"the app prints {run_id}" in printed.text
        assert "another" not in printed.text
        lines = (await milepost("logs", run_id, "--json")).json
        assert [line["log_group"] for line in lines] == [aws.stack.log_groups[0], "/aws/lambda/shop-app"]


async def test_a_run_that_no_log_names_is_said_to_have_no_lines():
    async with AwsHarness(shop([]), name=NAME, start=datetime.now(UTC)) as aws:
        announce(aws)
        await aws.send("order/created")
        printed = await milepost("logs", (await aws.only_run())["run_id"])
        assert (printed.code, "No log line names this run" in printed.text) == (1, True)


@asynccontextmanager
async def dashboard(aws: AwsHarness) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the dashboard over a stack."""
    with open_stack(aws.session, aws.stack, threads=1) as backend:
        transport = httpx.ASGITransport(build_app(backend))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8288") as client:
            yield client


async def test_the_dashboard_reads_the_same_lines_with_their_steps_and_says_when_there_are_more():
    async with AwsHarness(shop([]), name=NAME, start=datetime.now(UTC)) as aws:
        await aws.send("order/created")
        run_id = (await aws.only_run())["run_id"]
        logs = aws.session.client("logs")
        failed = {"level": "WARNING", "message": "attempt failed", "run_id": run_id, "step": "charge", "attempt": 1}
        write(logs, aws.stack.log_groups[0], json.dumps(failed | {"error": "OSError: down"}), f"plain {run_id}")
        logs.close()
        async with dashboard(aws) as client:
            found = (await client.get(f"/api/runs/{run_id}/logs")).json()
        assert (found["kept"], found["cut"], found["since"]) == ("cloudwatch", 0, None)
        first, second = found["lines"]
        assert (first["level"], first["step"], first["attempt"]) == ("WARNING", "charge", 1)
        assert first["text"] == "attempt failed\nOSError: down"
        assert first["source"] == aws.stack.log_groups[0]
        assert (second["text"], second["step"]) == (f"plain {run_id}", None)
        run = await aws.engine.runs.load(run_id)
        assert run is not None
        few = await StackRunLogs(aws.session, aws.stack, SystemClock(), most=1).of(run, None)
        assert (len(few.lines), few.cut) == (1, -1)


async def test_without_permission_to_read_logs_the_missing_permission_is_named():
    async with AwsHarness(shop([]), name=NAME, start=datetime.now(UTC)) as aws:
        await aws.send("order/created")
        run_id = (await aws.only_run())["run_id"]
        aws.session.events.register("before-call.cloudwatch-logs.FilterLogEvents", denied)
        async with dashboard(aws) as client:
            answer = await client.get(f"/api/runs/{run_id}/logs")
        assert (answer.status_code, answer.json()["code"]) == (502, "MP333")
        assert "FilterLogEvents" in answer.json()["error"]
        assert "docs/permissions.md" in answer.json()["error"]


def denied(**_: Any) -> Any:
    """What AWS answers to who has no such permission."""
    answer = {"Error": {"Code": "AccessDeniedException", "Message": "not authorized to perform: logs:FilterLogEvents"}}
    raise ClientError(answer, "FilterLogEvents")
