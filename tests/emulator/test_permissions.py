"""The same stack where permissions count: every role has what it needs, and without a grant AWS refuses.

What AWS does on behalf of a queue or a rule the emulator does not check; `tests/infra` looks at those in the template.
"""

from __future__ import annotations

import base64
import copy
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .cloud import Cloud, eventually
from .emulator import running
from .tools import Tools

pytestmark = pytest.mark.emulator


@pytest.fixture(scope="module")
def guarded(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("guarded")
    with running(tools, folder / "emulator", iam=True) as emulator:
        cloud = Cloud(tools, emulator, folder)
        cloud.bootstrap()
        cloud.deploy(apps="trials")
        yield cloud
        cloud.close()


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
    """Call a Lambda of the engine directly; what it told."""
    client = cloud.client("lambda")
    (name,) = [one["FunctionName"] for one in client.list_functions()["Functions"] if part in one["FunctionName"]]
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event).encode(), LogType="Tail")
    return base64.b64decode(answer.get("LogResult", "")).decode() + answer["Payload"].read().decode()


def registration(cloud: Cloud) -> dict:
    """What CloudFormation asks the registrar when an app is deployed again."""
    client = cloud.client("lambda")
    (app,) = [one for one in client.list_functions()["Functions"] if "Trials" in one["FunctionName"]]
    properties = {"Address": f"{app['FunctionArn']}:1", "TimeoutSeconds": "3"}
    return {
        "RequestType": "Update", "StackId": "s", "RequestId": "r", "LogicalResourceId": "l",
        "PhysicalResourceId": "app:trials", "ResponseURL": f"{cloud.emulator.url}/nobody/listens",
        "ResourceProperties": properties,
    }  # fmt: skip


def do(cloud: Cloud, what: str, name: str) -> str:
    match what:
        case "tick":
            return called(cloud, "Timers", {})
        case "register":
            return called(cloud, "Registrar", registration(cloud))
        case "large event":
            cloud.send("trial/once", {"name": name, "more": os.urandom(60_000).hex()})
        case _:
            cloud.send(f"trial/{what}", {"name": name})
    return ""


@pytest.mark.parametrize(
    ("what", "function"), [("once", "once"), ("large", "large"), ("many", "many"), ("large event", "once")]
)
def test_every_role_has_what_it_needs(guarded: Cloud, what: str, function: str):
    name = f"allowed-{what.replace(' ', '-')}"
    do(guarded, what, name)
    assert guarded.ended(f"trials-{function}", name)["status"] == "Completed"
    assert "is not authorized" not in guarded.emulator.log.read_text()


def test_the_timers_and_the_registrar_have_what_they_need(guarded: Cloud):
    assert "not authorized" not in do(guarded, "tick", "")
    assert "not authorized" not in do(guarded, "register", "")


GRANTS = [
    ("Intake", "dynamodb:PutItem", "once"),
    ("Intake", "dynamodb:Query", "once"),
    ("Intake", "s3:PutObject", "large event"),
    ("Intake", "sqs:SendMessage", "once"),
    ("Orchestrator", "dynamodb:Query", "once"),
    ("Orchestrator", "dynamodb:PutItem", "once"),
    ("Orchestrator", "dynamodb:UpdateItem", "once"),
    ("Orchestrator", "s3:PutObject", "large"),
    ("Orchestrator", "s3:GetObject", "large"),
    ("Orchestrator", "sqs:SendMessage", "once"),
    ("Orchestrator", "lambda:InvokeFunction", "once"),
    ("Timers", "dynamodb:Query", "tick"),
    ("Timers", "dynamodb:GetItem", "tick"),
    ("Registrar", "dynamodb:Query", "register"),
    ("Registrar", "dynamodb:PutItem", "register"),
    ("Registrar", "lambda:InvokeFunction", "register"),
    ("Trials", "dynamodb:Query", "many"),
    ("Trials", "dynamodb:PutItem", "many"),
]


@pytest.mark.parametrize(("part", "action", "what"), GRANTS)
def test_without_the_grant_aws_refuses(guarded: Cloud, part: str, action: str, what: str):
    log = guarded.emulator.log
    before = log.stat().st_size
    name = f"refused-{part}-{action.replace(':', '-')}"
    with without(guarded, part, action) as role:
        told = do(guarded, what, name)
        refusal = f"{role}/\\S+ is not authorized to perform: {action}"

        def refused() -> bool:
            return bool(re.search(refusal, told + log.read_bytes()[before:].decode(errors="replace")))

        eventually(refused, f"{part} is refused {action}", seconds=15)


def test_an_event_that_came_while_a_grant_was_missing_is_not_lost(guarded: Cloud):
    with without(guarded, "Orchestrator", "dynamodb:PutItem") as role:
        guarded.send("trial/once", {"name": "patient"})
        eventually(lambda: role in guarded.emulator.told(), "the orchestrator is refused", seconds=15)
    # Its step may have run twice: what it returned the first time could not be saved.
    assert guarded.ended("trials-once", "patient")["status"] == "Completed"
