"""The Lambdas of the engine: one role each, quiet logs, and just what they need."""

from __future__ import annotations

import json
import re
import string
import sys

import pytest
from aws_cdk import App, Duration
from aws_cdk import aws_lambda as lambda_

from milepost_infra import Platform
from milepost_infra.errors import InfraError
from milepost_infra.names import Handler

from .rig import ENTRY, EmptyAssets, Synthesised, listed, make, synthesised


def engine(made: Synthesised) -> dict[str, dict]:
    functions = made.all("AWS::Lambda::Function").values()
    return {one["Handler"].split(".")[1]: one for one in functions if one["Handler"].startswith("milepost_handlers.")}


def test_there_is_a_lambda_for_each_part_and_for_the_api_only_if_asked_for(plain, full):
    assert set(engine(plain)) == {"intake", "orchestrator", "timers", "manifest", "runs"}
    assert set(engine(full)) == {"intake", "orchestrator", "timers", "manifest", "runs", "api"}
    assert {f"milepost_handlers.{name}.handler" for name in engine(full)} == {handler.value for handler in Handler}


def test_each_lambda_has_a_role_of_its_own_that_only_lambda_may_take(full):
    roles = full.all("AWS::IAM::Role")
    used = [f["Role"]["Fn::GetAtt"][0] for f in full.all("AWS::Lambda::Function").values()]
    assert sorted(used) == sorted(roles)
    for role in roles.values():
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}
        assert "ManagedPolicyArns" not in role


def test_no_action_is_a_wildcard_and_resources_are_named_but_for_objects_and_versions(full):
    allowed = re.compile(r"^(<.*Bucket.*\.Arn>/((runs|events)/)?\*|<.*Function.*\.Arn>:\*)$")
    for policy in full.all("AWS::IAM::Policy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement.get("Sid") == "Trace" or "xray:PutTraceSegments" in listed(statement["Action"]):
                continue  # X-Ray knows no resources
            assert not [action for action in listed(statement["Action"]) if "*" in action]
            for resource in listed(statement["Resource"]):
                text = named(resource)
                assert "*" not in text or allowed.match(text), text


def named(resource) -> str:
    match resource:
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
        case {"Fn::Join": [_, parts]}:
            return "".join(map(named, parts))
        case {"Ref": name}:
            return f"<{name}>"
        case _:
            return str(resource)


def test_nobody_may_scan_the_table_or_change_its_shape(full):
    actions = {
        action
        for policy in full.all("AWS::IAM::Policy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        for action in listed(statement["Action"])
        if action.startswith("dynamodb:")
    }
    assert actions <= {f"dynamodb:{verb}Item" for verb in ("Get", "BatchGet", "Put", "Update", "Delete")} | {
        "dynamodb:Query"
    }


def test_lambdas_run_the_python_that_made_them_on_arm(full):
    for function in full.all("AWS::Lambda::Function").values():
        assert function["Runtime"] == f"python{sys.version_info.major}.{sys.version_info.minor}"
        assert function["Architectures"] == ["arm64"]


def test_another_platform_is_one_word(tmp_path):
    def write(app: App):
        from aws_cdk import Stack  # noqa: PLC0415

        from milepost_infra import Milepost, MilepostApp  # noqa: PLC0415

        from .rig import Made  # noqa: PLC0415

        stack = Stack(app, "Stack")
        milepost = Milepost(stack, "Milepost", assets=EmptyAssets(tmp_path, Platform("3.12", "x86_64")))
        return Made(stack, milepost, [MilepostApp(milepost, "Shop", entry=ENTRY)])

    for function in synthesised(write).all("AWS::Lambda::Function").values():
        assert (function["Runtime"], function["Architectures"]) == ("python3.12", ["x86_64"])


def test_logs_are_json_without_the_platforms_chatter_and_expire(full):
    groups = full.all("AWS::Logs::LogGroup")
    for function in full.all("AWS::Lambda::Function").values():
        logging = function["LoggingConfig"]
        assert (logging["LogFormat"], logging["SystemLogLevel"]) == ("JSON", "WARN")
        assert groups[logging["LogGroup"]["Ref"]]["RetentionInDays"] == 30


def test_of_the_engine_only_the_orchestrator_may_feed_the_queue_that_it_reads(plain):
    looping = {name for name, function in engine(plain).items() if function.get("RecursiveLoop") == "Allow"}
    assert looping == {"orchestrator"}


def test_the_orchestrator_outlives_the_longest_invocation(tmp_path):
    made = synthesised(lambda app: make(tmp_path, app=app, longest_invocation=Duration.seconds(600)))
    orchestrator = engine(made)["orchestrator"]
    assert orchestrator["Timeout"] > 600
    assert orchestrator["Environment"]["Variables"]["MILEPOST_INVOCATION_SECONDS"] == "600"


def test_an_invocation_longer_than_the_orchestrator_can_live_is_refused(tmp_path):
    with pytest.raises(InfraError, match=r"MP605.*at most 870 s"):
        make(tmp_path, longest_invocation=Duration.minutes(15))


def test_there_is_no_public_endpoint_unless_asked_for(plain, full):
    public = ("AWS::ApiGatewayV2::Api", "AWS::ApiGateway::RestApi", "AWS::Lambda::Url")
    assert not [one for kind in public for one in plain.all(kind)]
    assert len(full.all("AWS::ApiGatewayV2::Api")) == 1


def test_the_keys_of_the_api_are_made_by_secrets_manager_and_read_only_where_they_are_used(full):
    def readers(secret: str) -> set[str]:
        """The Lambdas whose roles may read a secret."""
        statements = [
            (policy["Roles"][0]["Ref"], json.dumps(statement))
            for policy in full.all("AWS::IAM::Policy").values()
            for statement in policy["PolicyDocument"]["Statement"]
        ]
        return {
            role.split("LambdaRole")[0]
            for role, policy in statements
            if "GetSecretValue" in policy and secret in policy
        }

    (event_keys,) = [name for name in full.all("AWS::SecretsManager::Secret") if "Event" in name]
    (signing_keys,) = [name for name in full.all("AWS::SecretsManager::Secret") if "Signing" in name]
    assert readers(event_keys) == {"MilepostApi"}
    # Apps outside AWS are called, and asked for their functions, with signed requests.
    assert readers(signing_keys) == {"MilepostApi", "MilepostOrchestrator", "MilepostRegistrar"}


def test_the_keys_of_the_api_are_hex_for_the_official_sdks_take_no_others(full):
    left = {*string.ascii_letters, *string.digits, *string.punctuation}
    for secret in full.all("AWS::SecretsManager::Secret").values():
        made = secret["GenerateSecretString"]
        assert made["ExcludeUppercase"]
        assert left - {*made["ExcludeCharacters"]} == {*"0123456789abcdef"}
        assert made["PasswordLength"] == 64


def test_tracing_is_off_unless_asked_for(plain, full):
    assert not [f for f in plain.all("AWS::Lambda::Function").values() if "TracingConfig" in f]
    assert all(f["TracingConfig"] == {"Mode": "Active"} for f in full.all("AWS::Lambda::Function").values())


def test_every_lambda_says_what_it_is_for(full):
    assert all(function["Description"] for function in full.all("AWS::Lambda::Function").values())


def test_the_engine_is_packed_once_for_all_its_lambdas(full):
    keys = {json.dumps(function["Code"]["S3Key"]) for function in engine(full).values()}
    assert len(keys) == 1
    assert isinstance(full.made.milepost.orchestrator.engine.function, lambda_.Function)
