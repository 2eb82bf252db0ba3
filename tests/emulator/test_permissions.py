"""The same stack where permissions count: every role has what it needs, and without a grant AWS refuses.

What AWS does on behalf of a queue or a rule the emulator does not check; `tests/infra` looks at those in the template.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from milepost import App
from milepost.protocol import bearer

from .cloud import Cloud, eventually
from .conftest import account
from .tools import Tools

pytestmark = pytest.mark.emulator


@pytest.fixture(scope="module")
def guarded(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with account(tools, tmp_path_factory.mktemp("guarded"), iam=True) as cloud:
        cloud.deploy(apps="trials")
        yield cloud


@contextmanager
def without(cloud: Cloud, part: str, action: str) -> Iterator[str]:
    """The role of this part lacks one action meanwhile. Gives the role's name."""
    iam = cloud.client("iam")
    (role,) = [
        one["RoleName"] for one in iam.list_roles()["Roles"] if re.search(f"{part}(Lambda)?Role", one["RoleName"])
    ]
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    whole = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    less = copy.deepcopy(whole)
    for statement in less["Statement"]:
        listed = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        statement["Action"] = [one for one in listed if one != action]
    less["Statement"] = [statement for statement in less["Statement"] if statement["Action"]]
    assert less != whole, f"{role} has no {action}"
    put = {"RoleName": role, "PolicyName": policy}
    iam.put_role_policy(**put, PolicyDocument=json.dumps(less))
    try:
        yield role
    finally:
        iam.put_role_policy(**put, PolicyDocument=json.dumps(whole))


def called(cloud: Cloud, part: str, event: dict) -> str:
    """Call a Lambda of the engine directly; what it logged."""
    client = cloud.client("lambda")
    (name,) = [one["FunctionName"] for one in client.list_functions()["Functions"] if part in one["FunctionName"]]
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event).encode(), LogType="Tail")
    return base64.b64decode(answer.get("LogResult", "")).decode() + answer["Payload"].read().decode()


def registration(cloud: Cloud, request: str, app_id: str) -> dict:
    """What CloudFormation asks the registrar when an app is deployed again, or taken out."""
    client = cloud.client("lambda")
    (app,) = [one for one in client.list_functions()["Functions"] if "Apptrials" in one["FunctionName"]]
    properties = {"Address": f"{app['FunctionArn']}:1", "TimeoutSeconds": "3"}
    return {
        "RequestType": request, "StackId": "s", "RequestId": "r", "LogicalResourceId": "l",
        "PhysicalResourceId": f"app:{app_id}", "ResponseURL": f"{cloud.emulator.url}/nobody/listens",
        "ResourceProperties": properties,
    }  # fmt: skip


def rearm_cron_lines(cloud: Cloud, *, gone: bool) -> None:
    """Let the next tick find no cron line armed, or one whose function is gone."""
    client, table = cloud.client("dynamodb"), {"TableName": cloud.outputs["MilepostTableName"]}
    if gone:
        line = {"pk": {"S": "CRON"}, "sk": {"S": "nobody-tick#0"}, "next_at": {"N": "0"}}
        client.put_item(**table, Item=line)
        return
    asked = {"KeyConditionExpression": "pk = :cron", "ExpressionAttributeValues": {":cron": {"S": "CRON"}}}
    for item in client.query(**table, **asked)["Items"]:
        client.delete_item(**table, Key={name: item[name] for name in ("pk", "sk")})


def through_the_api(cloud: Cloud, what: str, name: str) -> str:
    match what:
        case "http event":
            event = {"name": "trial/once", "data": {"name": name}}
            answer = cloud.ask("POST", f"/e/{cloud.key('EventKey')}", event)
        case "http register":
            manifest = App(name).manifest("http://127.0.0.1:9/api")
            answer = cloud.ask("POST", "/fn/register", manifest, authorization=bearer(cloud.key("SigningKey")))
        case "http steps":
            key = bearer(cloud.key("SigningKey"))
            answer = cloud.ask("GET", "/v0/runs/01JN0000000000000000000000/actions", None, authorization=key)
        case _:
            body = json.dumps({"name": name}).encode()
            signature = hmac.new(b"whsec", body, hashlib.sha256).hexdigest()
            answer = cloud.ask("POST", "/webhooks/bank", body, **{"x-signature": signature})
    return answer.text


def do(cloud: Cloud, part: str, what: str, name: str) -> str:
    """Do something that takes this part of the stack; what the part logged, if it is called directly."""
    if what.startswith("first "):
        cloud.start_anew(part)
    match what.removeprefix("first "):
        case "tick of a new line" | "tick of a line that is gone":
            rearm_cron_lines(cloud, gone="gone" in what)
            return called(cloud, "Timers", {})
        case "tick":
            return called(cloud, "Timers", {})
        case "register":
            return called(cloud, "Registrar", registration(cloud, "Update", "trials"))
        case "take out":
            answer = called(cloud, "Registrar", registration(cloud, "Delete", "trials"))
            do(cloud, part, "register", name)
            return answer
        case "large event":
            cloud.send("trial/once", {"name": name, "more": os.urandom(60_000).hex()})
        case "poison":
            output = {"Intake": "MilepostIntakeQueueUrl", "Orchestrator": "MilepostQueueUrl"}[part]
            cloud.client("sqs").send_message(QueueUrl=cloud.outputs[output], MessageBody="{ no message")
        case "wait":
            cloud.send("trial/deploy", {"name": name})
            found = lambda: cloud.runs("trials-deploy-meanwhile", name)  # noqa: E731
            eventually(lambda: [run for run in found() if cloud.run(run["run_id"])["trace"][1:]], "the run waits")
            cloud.send("trial/go", {"name": name})
        case "http event" | "http register" | "http steps" | "webhook" as request:
            return through_the_api(cloud, request, name)
        case event:
            cloud.send(f"trial/{event}", {"name": name})
    return ""


@pytest.mark.parametrize(
    ("what", "function"),
    [
        ("once", "once"), ("large", "large"), ("many", "many"), ("heavy", "heavy"), ("large event", "once"),
        ("tell", "once"), ("http event", "once"), ("webhook", "once"), ("wait", "deploy-meanwhile"),
    ],
)  # fmt: skip
def test_every_role_has_what_it_needs(guarded: Cloud, what: str, function: str):
    name = f"allowed-{what.replace(' ', '-')}"
    do(guarded, "", what, name)
    assert guarded.ended(f"trials-{function}", name)["status"] == "Completed"
    assert "is not authorized" not in guarded.emulator.log.read_text()


def test_the_timers_the_registrar_and_the_api_have_what_they_need(guarded: Cloud):
    for part, what in (("Timers", "tick"), ("Registrar", "register"), ("Api", "http register")):
        assert "not authorized" not in do(guarded, part, what, "allowed")


GRANTS = {
    "Intake": {
        "dynamodb:GetItem": "first once",  # the schema's version
        "dynamodb:PutItem": "once",
        "dynamodb:Query": "once",
        "s3:PutObject": "large event",
        "sqs:ChangeMessageVisibility": "poison",
        "sqs:SendMessage": "once",
    },
    "Orchestrator": {
        "dynamodb:DeleteItem": "wait",
        "dynamodb:GetItem": "once",
        "dynamodb:PutItem": "once",
        "dynamodb:Query": "once",
        "dynamodb:UpdateItem": "once",
        "lambda:InvokeFunction": "once",
        "s3:GetObject": "first large event",
        "s3:PutObject": "large",
        "secretsmanager:GetSecretValue": "first once",
        "sqs:ChangeMessageVisibility": "poison",
        "sqs:SendMessage": "once",
    },
    "Timers": {
        "dynamodb:GetItem": "tick",
        "dynamodb:DeleteItem": "tick of a line that is gone",
        "dynamodb:PutItem": "tick of a new line",
        "dynamodb:Query": "tick",
        "dynamodb:UpdateItem": "tick of a new line",
        "sqs:SendMessage": "tick of a new line",
    },
    "Registrar": {
        "dynamodb:DeleteItem": "take out",
        "dynamodb:GetItem": "first register",
        "dynamodb:PutItem": "register",
        "dynamodb:Query": "first register",
        "lambda:InvokeFunction": "register",
        "secretsmanager:GetSecretValue": "first register",
    },
    "Api": {
        "dynamodb:BatchGetItem": "http steps",
        "dynamodb:GetItem": "first http event",
        "dynamodb:PutItem": "http register",
        "dynamodb:Query": "first http register",
        "lambda:InvokeFunction": "webhook",
        "secretsmanager:GetSecretValue": "first http event",
        "sqs:SendMessage": "http event",
    },
    "Apptrials": {
        "dynamodb:GetItem": "many",
        "dynamodb:PutItem": "many",
        "dynamodb:Query": "many",
        "events:PutEvents": "tell",
        "s3:GetObject": "heavy",
        "s3:PutObject": "heavy",
    },
}
"""For each role and action, something that cannot be done without it."""

PLATFORM = {
    "logs:CreateLogStream", "logs:PutLogEvents", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl",
    "sqs:ReceiveMessage", "secretsmanager:DescribeSecret",
}  # fmt: skip
"""What AWS itself does with a role for its log and its queue, and what the CDK grants along with it: the emulator asks
no permission for the former, and nothing here makes use of the latter."""

RARE = {
    "Intake": {"dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:UpdateItem", "s3:GetObject", "s3:ListBucket"},
    "Orchestrator": {"dynamodb:BatchGetItem", "s3:ListBucket"},
    "Timers": {"dynamodb:BatchGetItem"},
    "Registrar": {"cloudformation:DescribeStacks"},
    "Runs": {
        "dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query",
        "dynamodb:UpdateItem", "s3:GetObject", "s3:ListBucket", "s3:PutObject", "sqs:SendMessage",
    },
    "Api": {
        "dynamodb:DeleteItem", "dynamodb:UpdateItem", "s3:GetObject", "s3:ListBucket", "s3:PutObject",
    },
}  # fmt: skip
"""Part of the one grant for table and bucket that all who move runs have, but needed only after a crash, for an event
or a registry of unusual size, where one Lambda has several steps of a run in hand, or to tell a missing object from a
forbidden one. The registrar asks for the state of its stack only when an app is removed. That of the Lambda for
starts is not tried here yet."""


def test_every_action_that_is_granted_is_taken_away_below_or_named_with_its_reason(guarded: Cloud):
    iam = guarded.client("iam")
    granted: dict[str, set[str]] = {}
    for role in iam.list_roles()["Roles"]:
        found = re.search(r"Milepost([A-Z][a-z]+)(Lambda)?Role", role["RoleName"])
        for policy in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"] if found else ():
            assert found
            document = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=policy)["PolicyDocument"]
            listed = granted.setdefault(found[1], set())
            for statement in document["Statement"]:
                actions = statement["Action"]
                listed |= {actions} if isinstance(actions, str) else set(actions)
    expected = {part: {*GRANTS.get(part, ()), *RARE.get(part, ())} for part in {*GRANTS, *RARE}}
    assert {part: actions - PLATFORM for part, actions in granted.items()} == expected


@pytest.mark.parametrize(
    ("part", "action", "what"),
    [(part, action, what) for part, grants in GRANTS.items() for action, what in grants.items()],
)
def test_without_the_grant_aws_refuses(guarded: Cloud, part: str, action: str, what: str):
    log = guarded.emulator.log
    before = log.stat().st_size
    name = f"refused-{part}-{action.replace(':', '-')}"
    with without(guarded, part, action) as role:
        answer = do(guarded, part, what, name)
        refusal = f"{role}/\\S+ is not authorized to perform: {action}"

        def refused() -> bool:
            return bool(re.search(refusal, answer + log.read_bytes()[before:].decode(errors="replace")))

        eventually(refused, f"{part} is refused {action}", seconds=15)


def test_an_event_that_came_while_a_grant_was_missing_is_not_lost(guarded: Cloud):
    with without(guarded, "Orchestrator", "dynamodb:PutItem") as role:
        guarded.send("trial/once", {"name": "patient"})
        eventually(lambda: role in guarded.emulator.output(), "the orchestrator is refused", seconds=15)
    # Its step may have run twice: what it returned the first time could not be saved.
    assert guarded.ended("trials-once", "patient")["status"] == "Completed"
