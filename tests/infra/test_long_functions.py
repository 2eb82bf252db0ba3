"""An app that may run for longer than the orchestrator waits: invoked asynchronously, it reports to the work queue."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import Duration

from milepost_engine.runs.sweeper import LATEST_START
from milepost_infra import failures

from .rig import Synthesised, make, resources, synthesised

CONFIG, VERSION = "AWS::Lambda::EventInvokeConfig", "AWS::Lambda::Version"
QUARTER = Duration.minutes(15)


def with_timeout(folder: Path, timeout: Duration, **options: Any) -> Synthesised:
    return synthesised(lambda app: make(folder, app=app, app_options={"timeout": timeout, **options}))


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Synthesised:
    return with_timeout(tmp_path_factory.mktemp("patient"), QUARTER)


def app_lambda(made: Synthesised) -> dict[str, Any]:
    (function,) = [f for f in made.all("AWS::Lambda::Function").values() if f["Description"] == "Milepost app plain"]
    return function


def queue_of(made: Synthesised) -> str:
    (name,) = [name for name in made.all("AWS::SQS::Queue") if name.startswith("MilepostWorkQueue")]
    return name


def test_lambda_tries_nothing_again_and_sends_failures_to_the_work_queue(patient: Synthesised):
    (config,) = patient.all(CONFIG).values()
    assert config["MaximumRetryAttempts"] == 0
    assert config["DestinationConfig"] == {"OnFailure": {"Destination": {"Fn::GetAtt": [queue_of(patient), "Arn"]}}}


def test_a_call_that_waited_too_long_is_given_back_while_its_signature_is_good(patient: Synthesised):
    (config,) = patient.all(CONFIG).values()
    assert config["MaximumEventAgeInSeconds"] == failures.LATEST_START.to_seconds() == LATEST_START.total_seconds()
    assert config["MaximumEventAgeInSeconds"] < 300


def test_it_is_registered_as_one_that_reports_after_lambda_knows_where_failures_go(patient: Synthesised):
    (registered,) = resources(patient.template, "Custom::MilepostApp").values()
    (config,) = patient.all(CONFIG)
    assert (registered["Properties"]["Reports"], registered["Properties"]["TimeoutSeconds"]) == ("true", "900")
    assert config in registered["DependsOn"]


def test_each_version_keeps_its_own_configuration_for_the_runs_that_are_pinned_to_it(
    tmp_path: Path, patient: Synthesised
):
    later = with_timeout(tmp_path, QUARTER, memory_mb=512)
    names = []
    for made in (patient, later):
        ((name, config),) = resources(made.template, CONFIG).items()
        (version,) = made.all(VERSION)
        assert config["Properties"]["Qualifier"] == {"Fn::GetAtt": [version, "Version"]}
        assert config["DeletionPolicy"] == "RetainExceptOnCreate"
        names.append(name)
    assert names[0] != names[1]


def test_runs_that_continue_with_the_newest_code_have_it_at_the_alias(tmp_path: Path):
    made = with_timeout(tmp_path, QUARTER, versioning="latest")
    (config,) = made.all(CONFIG).values()
    assert config["Qualifier"] == "live"


def test_it_may_send_to_the_work_queue_knows_it_and_is_not_cut_off_as_a_loop(patient: Synthesised):
    function, queue = app_lambda(patient), queue_of(patient)
    assert function["Environment"]["Variables"]["MILEPOST_QUEUE_URL"] == {"Ref": queue}
    assert function["RecursiveLoop"] == "Allow"
    (sending,) = [s for s in patient.statements("Appplain") if "sqs:SendMessage" in s["Action"]]
    assert sending["Resource"] == {"Fn::GetAtt": [queue, "Arn"]}


def test_the_orchestrator_and_its_queue_do_not_wait_any_longer(patient: Synthesised, plain: Synthesised):
    for kind in ("AWS::SQS::Queue", "AWS::Lambda::EventSourceMapping"):
        assert patient.all(kind) == plain.all(kind)
    timeouts = [{n: f["Timeout"] for n, f in m.all("AWS::Lambda::Function").items()} for m in (patient, plain)]
    changed = {name for name in timeouts[0] if timeouts[0][name] != timeouts[1][name]}
    assert [name.startswith("MilepostAppplain") for name in changed] == [True]


def test_a_short_app_has_none_of_this(plain: Synthesised):
    assert plain.all(CONFIG) == {}
    assert "MILEPOST_QUEUE_URL" not in app_lambda(plain)["Environment"]["Variables"]
    assert "RecursiveLoop" not in app_lambda(plain)
    assert not [s for s in plain.statements("Appplain") if "sqs" in str(s)]
    assert "Reports" not in next(iter(plain.all("Custom::MilepostApp").values()))


def test_cfn_lint_finds_nothing(patient: Synthesised):
    command = [
        str(Path(sys.executable).with_name("cfn-lint")),
        "-i",
        "W3005",
        "-r",
        "eu-west-1",
        "--",
        str(patient.path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
