"""A function whose Lambda may live longer than the orchestrator waits: it is invoked asynchronously and reports back.

The stack waits 5 s for an invocation; this app's Lambda lives 7 s. Permissions count: its role may report, and that is
all that it needs more.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .cloud import Cloud, step
from .emulator import running
from .tools import Tools

pytestmark = pytest.mark.emulator

STORIES = {
    "last": (1, []),
    "hang": (2, ["InvocationTimeout"]),
    "exit": (2, ["AppCrashed"]),
}
"""How it ends: the tries of its step, and the failed attempts."""


@pytest.fixture(scope="module")
def patient(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("patient")
    with running(tools, folder / "emulator", iam=True) as emulator:
        cloud = Cloud(tools, emulator, folder)
        cloud.bootstrap()
        cloud.deploy(apps="patient")
        yield cloud
        cloud.close()


def test_a_long_step_runs_to_its_end_and_one_that_dies_is_tried_again(patient: Cloud):
    for how in STORIES:
        patient.send("patient/work", {"name": f"patient-{how}", "how": how})
    for how, (tries, failed) in STORIES.items():
        run = patient.ended("patient-work", f"patient-{how}")
        assert (run["status"], run["output"]) == ("Completed", [1, f"done after {how}"])
        assert (patient.tries(f"patient-{how}"), patient.tries(f"patient-{how}-before")) == (tries, 1)
        names = [attempt["error"]["name"] for span in run["trace"] for attempt in span["attempts"] if attempt["error"]]
        assert names == failed
        assert step(run, "work")["status"] == "Completed"


def test_a_deployment_leaves_the_configuration_of_the_version_that_runs_are_pinned_to(patient: Cloud):
    patient.deploy(apps="patient", revision="2")
    client = patient.client("lambda")
    (name,) = [
        one["FunctionName"] for one in client.list_functions()["Functions"] if "Apppatient" in one["FunctionName"]
    ]
    found = client.list_function_event_invoke_configs(FunctionName=name)["FunctionEventInvokeConfigs"]
    assert sorted(one["FunctionArn"].rpartition(":")[2] for one in found) == ["1", "2"]
    assert {one["MaximumRetryAttempts"] for one in found} == {0}
