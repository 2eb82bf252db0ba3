"""A user's app in a stack: from an entry file, or a function of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aws_cdk import App, Duration, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3

from milepost_infra import Milepost, MilepostApp
from milepost_infra.errors import InfraError

from .rig import ENTRY, EmptyAssets, Made, Synthesised, listed, make, synthesised


def shop(made: Synthesised) -> dict:
    (function,) = [
        f
        for f in made.all("AWS::Lambda::Function").values()
        if f.get("Description", "").endswith(("app plain", "app Shop"))
    ]
    return function


def registration(made: Synthesised) -> dict:
    (found,) = made.all("Custom::MilepostApp").values()
    return found


def with_app(folder: Path, **options) -> Synthesised:
    return synthesised(lambda app: make(folder, app=app, app_options=options))


def test_an_app_takes_what_any_function_takes(tmp_path):
    def write(app: App) -> Made:
        elsewhere = Stack(app, "Elsewhere")
        layer = lambda_.LayerVersion.from_layer_version_arn(
            elsewhere, "Layer", "arn:aws:lambda:eu-west-1:123456789012:layer:tools:3"
        )
        made = make(
            tmp_path,
            app=app,
            app_options={
                "environment": {"STAGE": "live"}, "memory_mb": 1024, "timeout": Duration.seconds(20), "layers": [layer],
            },
        )  # fmt: skip
        bucket = s3.Bucket.from_bucket_name(elsewhere, "Bucket", "invoices")
        bucket.grant_read(made.apps[0].function)
        return made

    def unchecked(app: App) -> Made:
        return write(app)

    app = App()
    made = unchecked(app)
    path = Path(app.synth().directory) / "Stack.template.json"
    found = Synthesised(made, path)
    function = shop(found)
    assert (function["MemorySize"], function["Timeout"]) == (1024, 20)
    assert function["Environment"]["Variables"]["STAGE"] == "live"
    assert function["Layers"] == ["arn:aws:lambda:eu-west-1:123456789012:layer:tools:3"]
    assert "s3:GetObject*" in json.dumps(found.statements("Appplain"))


def test_an_app_may_live_in_a_vpc(tmp_path):
    app = App()
    stack = Stack(app, "Stack")
    milepost = Milepost(stack, "Milepost", assets=EmptyAssets(tmp_path))
    vpc = ec2.Vpc(stack, "Vpc", max_azs=1)
    made = Made(stack, milepost, [MilepostApp(milepost, "Shop", entry=ENTRY, vpc=vpc)])
    found = Synthesised(made, Path(app.synth().directory) / "Stack.template.json")
    assert shop(found)["VpcConfig"]["SubnetIds"]
    assert "ec2:CreateNetworkInterface" in json.dumps(found.statements("Appplain"))


def test_an_apps_code_is_its_folder_with_a_shim_that_makes_a_handler(plain):
    (asked,) = plain.made.milepost.assets.asked
    source, requirements, files = asked
    assert source.folder == ENTRY.parent
    assert requirements == ("httpx>=0.27",)
    assert "from app import app" in files["_milepost_entry.py"]
    assert shop(plain)["Handler"] == "_milepost_entry.handler"


def test_an_app_knows_the_bus_and_may_send_events(plain):
    (bus,) = plain.all("AWS::Events::EventBus")
    assert shop(plain)["Environment"]["Variables"]["MILEPOST_EVENT_BUS"] == {"Ref": bus}
    assert {
        "Action": "events:PutEvents",
        "Effect": "Allow",
        "Resource": {"Fn::GetAtt": [bus, "Arn"]},
    } in plain.statements("Appplain")


def test_runs_are_pinned_to_a_published_version_that_stays(plain):
    ((name, version),) = [(n, r) for n, r in plain.template["Resources"].items() if r["Type"] == "AWS::Lambda::Version"]
    assert version["DeletionPolicy"] == "Retain"
    assert registration(plain)["Address"] == {"Ref": name}


def test_runs_continue_with_the_newest_code_if_requested(tmp_path):
    made = with_app(tmp_path, versioning="latest")
    (alias,) = made.all("AWS::Lambda::Alias")
    assert registration(made)["Address"] == {"Ref": alias}


def test_an_app_is_registered_after_all_that_its_registration_needs(plain):
    (made,) = [r for r in plain.template["Resources"].values() if r["Type"] == "Custom::MilepostApp"]
    needed = " ".join(made["DependsOn"])
    for part in ("Table", "RegistrarLambdaRoleDefaultPolicy", "RegistrarLambdaFunction", "RegistrarLambdaLogs"):
        assert part in needed
    assert registration(plain)["ServiceTimeout"] == "300"


def test_the_registrar_and_the_orchestrator_may_call_the_app_in_any_version(plain):
    function = next(n for n, f in plain.all("AWS::Lambda::Function").items() if f["Handler"].startswith("_milepost"))
    arn = {"Fn::GetAtt": [function, "Arn"]}
    wanted = {
        "Action": "lambda:InvokeFunction", "Effect": "Allow",
        "Resource": [arn, {"Fn::Join": ["", [arn, ":*"]]}],
    }  # fmt: skip
    assert wanted in plain.statements("Registrar")
    assert wanted in plain.statements("Orchestrator")
    assert wanted not in plain.statements("Intake")


def test_a_function_of_ones_own_can_be_handed_over(tmp_path):
    def write(app: App) -> Made:
        stack = Stack(app, "Stack")
        milepost = Milepost(stack, "Milepost", assets=EmptyAssets(tmp_path))
        function = lambda_.Function(
            stack, "Mine", code=lambda_.Code.from_asset(str(tmp_path)), handler="mine.handler",
            runtime=lambda_.Runtime.PYTHON_3_12, timeout=Duration.seconds(30),
        )  # fmt: skip
        return Made(stack, milepost, [MilepostApp(milepost, "Mine", function=function)])

    app = App()
    made = Synthesised(write(app), Path(app.synth().directory) / "Stack.template.json")
    assert registration(made)["TimeoutSeconds"] == "30"
    assert "Ref" in registration(made)["Address"], "a published version"


def test_a_container_image_can_be_handed_over(tmp_path):
    app = App()
    stack = Stack(app, "Stack")
    milepost = Milepost(stack, "Milepost", assets=EmptyAssets(tmp_path))
    from aws_cdk import aws_ecr as ecr  # noqa: PLC0415

    image = lambda_.DockerImageCode.from_ecr(ecr.Repository.from_repository_name(stack, "Images", "shop"))
    function = lambda_.DockerImageFunction(stack, "Image", code=image, timeout=Duration.seconds(10))
    made = Made(stack, milepost, [MilepostApp(milepost, "Shop", function=function)])
    found = Synthesised(made, Path(app.synth().directory) / "Stack.template.json")
    assert registration(found)["TimeoutSeconds"] == "10"


def test_an_imported_function_is_called_by_its_arn_and_registered_again_on_a_new_revision(tmp_path):
    def made(revision: str) -> Synthesised:
        app = App()
        stack = Stack(app, "Stack")
        milepost = Milepost(stack, "Milepost", assets=EmptyAssets(tmp_path))
        function = lambda_.Function.from_function_arn(
            stack, "Theirs", "arn:aws:lambda:eu-west-1:123456789012:function:theirs"
        )
        given = Made(stack, milepost, [MilepostApp(milepost, "Theirs", function=function, revision=revision)])
        return Synthesised(given, Path(app.synth().directory) / "Stack.template.json")

    found = made("7")
    assert registration(found)["Address"] == "arn:aws:lambda:eu-west-1:123456789012:function:theirs"
    assert registration(found)["Revision"] == "7"
    assert "arn:aws:lambda:eu-west-1:123456789012:function:theirs:*" in json.dumps(found.statements("Orchestrator"))


def test_an_app_needs_an_entry_or_a_function_and_not_both(tmp_path):
    for options in ({"entry": None}, {"function": object()}):
        with pytest.raises(InfraError, match="MP607"):
            make(tmp_path, app_options=options)


def test_a_function_of_their_own_that_runs_longer_than_milepost_waits_is_refused(tmp_path):
    stack = Stack(App(), "Stack")
    milepost = Milepost(stack, "Milepost", assets=EmptyAssets(tmp_path))
    code = lambda_.Code.from_inline("handler = None")
    function = lambda_.Function(
        stack, "Own", code=code, handler="index.handler", runtime=lambda_.Runtime.PYTHON_3_12,
        timeout=Duration.seconds(120),
    )  # fmt: skip
    with pytest.raises(InfraError, match=r"MP608.*120 s.*use entry="):
        MilepostApp(milepost, "Shop", function=function)


def test_an_app_that_would_outlive_a_lambda_is_refused(tmp_path):
    with pytest.raises(InfraError, match=r"MP608.*901 s.*at most 900 s"):
        make(tmp_path, app_options={"timeout": Duration.seconds(901)})


def test_an_entry_that_is_no_python_file_is_refused(tmp_path):
    with pytest.raises(InfraError, match="MP606"):
        make(tmp_path, app_options={"entry": tmp_path / "nothing.py"})


def own_function(stack: Stack, folder: Path) -> lambda_.Function:
    return lambda_.Function(
        stack, "Shop", description="app Shop", code=lambda_.Code.from_asset(str(folder)), handler="mine.handler",
        runtime=lambda_.Runtime.PYTHON_3_12, timeout=Duration.seconds(30),
    )  # fmt: skip


def with_own_function(folder: Path, **options) -> Synthesised:
    app = App()
    stack = Stack(app, "Stack")
    milepost = Milepost(stack, "Milepost", assets=EmptyAssets(folder))
    made = Made(stack, milepost, [MilepostApp(milepost, "Mine", function=own_function(stack, folder), **options)])
    return Synthesised(made, Path(app.synth().directory) / "Stack.template.json")


def test_a_function_of_ones_own_reaches_nothing_of_milepost_unless_asked_to(tmp_path):
    made = with_own_function(tmp_path)
    assert made.statements("Shop") == []
    assert "Environment" not in shop(made)


def test_a_function_that_milepost_does_not_make_cannot_be_let_save_its_steps(tmp_path):
    stack = Stack(App(), "Stack")
    milepost = Milepost(stack, "Milepost", assets=EmptyAssets(tmp_path))
    theirs = lambda_.Function.from_function_arn(
        stack, "Theirs", "arn:aws:lambda:eu-west-1:123456789012:function:theirs"
    )
    with pytest.raises(InfraError, match="MP612"):
        MilepostApp(milepost, "Theirs", function=theirs, saves_steps=True)


def from_entry(folder: Path) -> Synthesised:
    return with_app(folder)


def saving(folder: Path) -> Synthesised:
    return with_own_function(folder, saves_steps=True)


@pytest.mark.parametrize("write", [from_entry, saving])
def test_an_app_may_add_steps_to_runs_and_read_them_but_change_nothing_else(tmp_path, write):
    made, role = write(tmp_path), "Appplain" if write is from_entry else "Shop"
    assert "events:PutEvents" in json.dumps(made.statements(role))
    assert "s3:PutObject" in json.dumps(made.statements(role))
    statements = [s for s in made.statements(role) if "dynamodb" in json.dumps(s["Action"])]
    allowed = {
        action: s["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
        for s in statements
        for action in listed(s["Action"])
    }
    assert allowed == {
        "dynamodb:GetItem": ["F#*", "E#*"],
        "dynamodb:Query": ["R#*"],
        "dynamodb:PutItem": ["R#*"],
    }
    assert {"MILEPOST_TABLE", "MILEPOST_BUCKET", "MILEPOST_RETENTION_DAYS", "MILEPOST_EVENT_BUS"} <= set(
        shop(made)["Environment"]["Variables"]
    )
