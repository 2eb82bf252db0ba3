"""The CDK app that the emulator suite deploys: the shop sample, and the functions of `apps/` that the context names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import jsii
from aws_cdk import App, Aspects, Duration, IAspect, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_lambda as lambda_
from constructs import IConstruct

from milepost_infra import Milepost, MilepostApp, Platform, WheelAssets

from .cloud import STACK
from .tools import CACHE, ROOT

_ENTRIES = {
    "shop": ROOT / "samples" / "shop" / "app.py",
    "trials": Path(__file__).parent / "apps" / "trials" / "app.py",
    "latest": Path(__file__).parent / "apps" / "latest" / "app.py",
    "patient": Path(__file__).parent / "apps" / "patient" / "app.py",
    "broken": Path(__file__).parent / "apps" / "broken" / "app.py",
}
_SECONDS = {"patient": 7}
"""Timeouts of Lambdas; one longer than `longest_invocation` is not waited for."""
_BOOTSTRAP = """#!/bin/sh
export PYTHONPATH="$LAMBDA_TASK_ROOT"
[ -z "$EMULATOR_CERTIFICATE" ] || export AWS_CA_BUNDLE="$EMULATOR_CERTIFICATE" SSL_CERT_FILE="$EMULATOR_CERTIFICATE"
exec {python} -m awslambdaric "$_HANDLER"
"""


@jsii.implements(IAspect)
class RealRuntimeClient:
    """Runs each Lambda under AWS's own runtime client: the emulator's loses errors and warm processes."""

    def visit(self, node: IConstruct) -> None:
        if isinstance(node, lambda_.CfnFunction):
            node.runtime = "provided.al2023"


def _moved(entry: Path, checkout: str) -> Path:
    """The same app in another folder, as a later checkout of it; a package of this repository stays where it is."""
    if (entry.parent / "__init__.py").exists():
        return entry
    folder = Path(os.environ["EMULATOR_FOLDER"]) / checkout / entry.parent.name
    shutil.copytree(entry.parent, folder, dirs_exist_ok=True)
    return folder / entry.name


def main() -> None:
    app = App()

    def given(name: str, default: str) -> str:
        value = app.node.try_get_context(name)
        return default if value is None else str(value)

    stack = Stack(app, STACK)
    bootstrap = _BOOTSTRAP.format(python=os.environ["EMULATOR_PYTHON"])
    milepost = Milepost(
        stack,
        "Milepost",
        assets=WheelAssets(Platform.here(), CACHE / "milepost" / "assets", {"bootstrap": bootstrap}),
        longest_invocation=Duration.seconds(5),
        # The emulator knows no saved queries; the template tests look at them.
        saved_queries=False,
        max_concurrency=4,
        api=True,
    )
    milepost.feed("Uploads", events.EventPattern(source=["aws.s3"], detail_type=["Object Created"]))
    folder, checkout = os.environ["EMULATOR_FOLDER"], given("checkout", "")
    for name in given("apps", "shop,trials").split(","):
        MilepostApp(
            milepost,
            name.title() + checkout,
            entry=_moved(_ENTRIES[name], checkout) if checkout else _ENTRIES[name],
            timeout=Duration.seconds(_SECONDS.get(name, 3)),
            versioning="latest" if name == "latest" else "pinned",
            environment={"REVISION": given("revision", "1"), "SHOP_FOLDER": folder, "TRIALS_FOLDER": folder},
        )
    Aspects.of(app).add(RealRuntimeClient())
    app.synth()


if __name__ == "__main__":
    main()
