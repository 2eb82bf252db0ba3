"""Other people's rules: cdk-nag looks at every template that the suite makes, cfn-lint at the largest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_sqs as sqs

from .rig import Made, make, synthesised


def test_cfn_lint_finds_nothing(full):
    # W3005: a dependency that a reference implies already; the CDK writes them.
    command = [str(Path(sys.executable).with_name("cfn-lint")), "-i", "W3005", "-r", "eu-west-1", "--", str(full.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_cdk_nag_finds_nothing_that_is_not_acknowledged(full):
    report = json.loads((full.path.parent / "validation-report.json").read_text())
    assert report["pluginReports"] == []


def test_a_finding_that_nobody_acknowledged_fails_the_synthesis(tmp_path):
    def careless(app: App) -> Made:
        made = make(tmp_path, app=app)
        sqs.Queue(made.stack, "NoDeadLetters")
        return made

    with pytest.raises(RuntimeError, match="AwsSolutions-SQS3"):
        synthesised(careless)


def test_a_second_milepost_finds_its_place_beside_the_first(tmp_path):
    app = App()
    first, second = make(tmp_path, app=app), make(tmp_path, app=app, stack=Stack(app, "Other"))
    assert first.milepost.service != second.milepost.service
    assert app.synth().stacks
