"""Who may start runs from Python: nobody, until `grant_start` allows exactly one action on one Lambda."""

from __future__ import annotations

import json
from pathlib import Path

from aws_cdk import App, Stack
from aws_cdk import aws_iam as iam

from .rig import Made, Synthesised, make, synthesised


def may_invoke(made: Synthesised) -> dict[str, object]:
    """The statements that allow to invoke the Lambda for runs, by the role or user that has them."""
    return {
        (policy.get("Roles") or policy["Users"])[0]["Ref"]: statement
        for policy in made.all("AWS::IAM::Policy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if "InvokeFunction" in json.dumps(statement["Action"]) and "MilepostRuns" in json.dumps(statement["Resource"])
    }


def test_nobody_may_start_runs_unless_allowed(plain: Synthesised, full: Synthesised):
    assert may_invoke(plain) == may_invoke(full) == {}


def test_an_allowed_lambda_may_invoke_the_lambda_for_runs_only_and_knows_it(tmp_path: Path):
    def write(app: App) -> Made:
        made = make(tmp_path, stack=Stack(app, "Stack"))
        made.milepost.grant_start(made.apps[0].function)
        made.milepost.grant_start(iam.User(made.stack, "Clerk"))
        return made

    made = synthesised(write)
    (name,) = [name for name in made.all("AWS::Lambda::Function") if name.startswith("MilepostRuns")]
    arn = {"Fn::GetAtt": [name, "Arn"]}
    allowed = may_invoke(made)
    assert len(allowed) == 2
    for statement in allowed.values():
        assert statement == {"Action": "lambda:InvokeFunction", "Effect": "Allow", "Resource": arn}
    (shop,) = [one for key, one in made.all("AWS::Lambda::Function").items() if "Shop" in key or "Appplain" in key]
    assert shop["Environment"]["Variables"]["MILEPOST_RUNS_FUNCTION"] == arn
