"""Deployments never lose the code of live runs: neither a moved file nor a renamed construct makes a new Lambda."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_lambda as lambda_

from milepost_infra import Milepost, MilepostApp
from milepost_infra.app_id import find_app_id
from milepost_infra.entry import read_entry
from milepost_infra.errors import InfraError

from .rig import EmptyAssets, Made, make, resources, synthesised

CODE = "from milepost import App\n\n{}\n"


def written(folder: Path, code: str, name: str = "app.py") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(CODE.format(code))
    return file


def app_resources(tmp_path: Path, entry: Path, construct_id: str = "Shop", **options: Any) -> dict[str, set[str]]:
    """The logical ids of everything that belongs to an app."""

    def write(app: App) -> Made:
        stack = Stack(app, "Stack")
        milepost = Milepost(stack, "Milepost", assets=EmptyAssets(tmp_path))
        return Made(stack, milepost, [MilepostApp(milepost, construct_id, entry=entry, **options)])

    template = synthesised(write).template
    kinds = {made["Type"] for made in template["Resources"].values()}
    return {kind: set(resources(template, kind)) for kind in kinds}


def test_a_moved_file_and_a_renamed_construct_keep_every_resource(tmp_path: Path):
    assets = tmp_path / "assets"
    assets.mkdir()
    first = app_resources(assets, written(tmp_path / "checkout-1", 'app = App("shop")'))
    moved = app_resources(assets, written(tmp_path / "checkout-2" / "src", 'app = App("shop")', "main.py"), "Renamed")
    assert moved == first
    other = app_resources(assets, written(tmp_path / "checkout-3", 'app = App("billing")'))
    assert other["AWS::Lambda::Function"] != first["AWS::Lambda::Function"]


@pytest.mark.parametrize(
    "code",
    [
        'app = App("shop")',
        'app = App(id="shop", retries=3)',
        'app: App = App("shop")',
        'import milepost\napp = milepost.App("shop")',
        'if True:\n    app = App("shop")',
        'ID = "sh" + "op"\napp = App(ID)',
        'def made():\n    return App("shop")\n\n\napp = made()',
        'if 1 < 0:\n    app = App("other")\nelse:\n    app = App("shop")',
    ],
)
def test_the_id_is_found_where_it_is_written_or_by_importing_the_file(tmp_path: Path, code: str):
    file = written(tmp_path, code)
    assert find_app_id(read_entry(file), file) == "shop"


def test_an_id_is_found_in_a_package(tmp_path: Path):
    written(tmp_path / "shop", "", "__init__.py")
    written(tmp_path / "shop", 'NAME = "shop"', "names.py")
    file = written(tmp_path / "shop", "from .names import NAME\n\napp = App(NAME)")
    assert find_app_id(read_entry(file), file) == "shop"


def test_a_file_whose_id_cannot_be_found_is_refused_with_the_reason(tmp_path: Path):
    file = written(tmp_path, "import no_such_package\n\napp = App(no_such_package.ID)")
    with pytest.raises(InfraError, match=r"(?s)MP614.*No module named 'no_such_package'.*app_id='shop'"):
        find_app_id(read_entry(file), file)
    assets = tmp_path / "assets"
    assets.mkdir()
    found = app_resources(assets, file, app_id="shop")
    assert found == app_resources(assets, written(tmp_path / "other", 'app = App("shop")'))


def test_two_apps_of_one_id_are_refused(tmp_path: Path):
    made = make(tmp_path)
    with pytest.raises(InfraError, match=r"MP615.*'Again'.*'plain'"):
        MilepostApp(made.milepost, "Again", entry=Path(__file__).parent / "entries" / "plain" / "app.py")


def test_the_guard_knows_every_lambda_before_any_app_is_registered(tmp_path: Path):
    def write(app: App) -> Made:
        made = make(tmp_path, app=app, abandoned_apps=["old"])
        arn = "arn:aws:lambda:eu-west-1:123456789012:function:theirs"
        theirs = lambda_.Function.from_function_arn(made.stack, "Theirs", arn)
        MilepostApp(made.milepost, "Other", function=theirs)
        return made

    template = synthesised(write).template
    ((guard, resource),) = resources(template, "Custom::MilepostCode").items()
    (function,) = [
        name
        for name, made in resources(template, "AWS::Lambda::Function").items()
        if made["Properties"]["Handler"] == "_milepost_entry.handler"
    ]
    assert resource["Properties"]["Functions"] == [
        {"Fn::GetAtt": [function, "Arn"]},
        "arn:aws:lambda:eu-west-1:123456789012:function:theirs",
    ]
    assert resource["Properties"]["Abandoned"] == ["old"]
    registrations = resources(template, "Custom::MilepostApp").values()
    assert len(registrations) == 2
    assert all(guard in each["DependsOn"] for each in registrations)


def test_the_registrar_may_read_the_state_of_its_own_stack_only(plain):
    (statement,) = [each for each in plain.statements("Registrar") if each["Action"] == "cloudformation:DescribeStacks"]
    assert statement["Resource"] == {"Ref": "AWS::StackId"}
