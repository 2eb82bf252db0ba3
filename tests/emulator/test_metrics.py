"""What the Lambdas write for CloudWatch: the emulator makes no metrics of it, so its lines are read here.

Held against the deployed dashboard and alarms: each of their own metrics must be one that can come.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from milepost_handlers.metrics import MetricName

from .cloud import STACK, Cloud, eventually

pytestmark = pytest.mark.emulator

NAMESPACE = "Milepost"


def metric_lines(cloud: Cloud, part: str) -> list[dict[str, Any]]:
    """The lines of a Lambda's log that CloudWatch turns into metrics."""
    return [line for line in cloud.log(part) if "_aws" in line]


def metric_names(line: dict[str, Any]) -> set[tuple[str, tuple[str, ...]]]:
    """The metrics of a line with each of their sets of dimensions; the line is checked as CloudWatch does."""
    found = set()
    assert isinstance(line["_aws"]["Timestamp"], int)
    for directive in line["_aws"]["CloudWatchMetrics"]:
        assert directive["Namespace"] == NAMESPACE
        for dimensions in directive["Dimensions"]:
            assert all(isinstance(line[name], str) for name in dimensions)
            for metric in directive["Metrics"]:
                values = line[metric["Name"]]
                assert all(
                    isinstance(value, int | float) for value in (values if isinstance(values, list) else [values])
                )
                assert metric["Unit"] in {"Count", "Milliseconds"}
                found.add((metric["Name"], tuple(sorted(dimensions))))
    return found


def template(cloud: Cloud) -> dict[str, dict[str, Any]]:
    body = cloud.client("cloudformation").get_template(StackName=STACK)["TemplateBody"]
    return (json.loads(body) if isinstance(body, str) else body)["Resources"]


def read_by_alarms_and_dashboard(cloud: Cloud) -> set[tuple[str, tuple[str, ...]]]:
    """Our own metrics that somebody looks at, with the dimensions by which they are looked up."""
    wanted = set()
    for made in template(cloud).values():
        about = made.get("Properties", {})
        if made["Type"] == "AWS::CloudWatch::Alarm" and about.get("Namespace") == NAMESPACE:
            wanted.add((about["MetricName"], tuple(sorted(each["Name"] for each in about["Dimensions"]))))
        elif made["Type"] == "AWS::CloudWatch::Dashboard":
            body = "".join(part if isinstance(part, str) else "x" for part in about["DashboardBody"]["Fn::Join"][1])
            for widget in json.loads(body)["widgets"]:
                for metric in widget["properties"]["metrics"]:
                    wanted |= _of_a_widget(metric)
    return wanted


def _of_a_widget(metric: list[Any]) -> set[tuple[str, tuple[str, ...]]]:
    if metric[0] == NAMESPACE:
        return {(metric[1], tuple(sorted(metric[2:-1:2])))}
    expression = metric[0].get("expression", "") if isinstance(metric[0], dict) else ""
    searched = re.search(r"SEARCH\('\{Milepost,([a-z_,]+)\} MetricName=\"(\w+)\"", expression)
    return {(searched[2], tuple(sorted(searched[1].split(","))))} if searched else set()


def test_a_run_is_logged_in_lines_that_cloudwatch_turns_into_the_metrics_that_dashboard_and_alarms_read(cloud: Cloud):
    cloud.send("trial/once", {"name": "measured"})
    cloud.ended("trials-once", "measured")
    cloud.send("trial/fail", {"name": "measured-failure"})
    cloud.ended("trials-fail", "measured-failure")
    cloud.client("sqs").send_message(QueueUrl=cloud.outputs["MilepostIntakeQueueUrl"], MessageBody="{ no event")
    wanted = read_by_alarms_and_dashboard(cloud)
    ends = {MetricName.RUNS_COMPLETED, MetricName.RUNS_FAILED, MetricName.STEP_LATENCY, MetricName.FIRST_STEP_DELAY}
    by_part = {"Intake": {MetricName.RUNS_STARTED, MetricName.EVENTS_REFUSED}, "Orchestrator": ends}
    for part, names in by_part.items():
        looked_up = {(name, dimensions) for name, dimensions in wanted if name in names}
        assert {name for name, _ in looked_up} == names

        def come(part: str = part, looked_up: set[Any] = looked_up) -> bool:
            found: set[tuple[str, tuple[str, ...]]] = set().union(*map(metric_names, metric_lines(cloud, part)))
            return looked_up <= found

        eventually(come, f"the {part} tells {sorted(looked_up)}", details=cloud.emulator.output)
    # Nobody else is to meet it among the dead letters.
    cloud.client("sqs").purge_queue(QueueUrl=cloud.outputs["MilepostIntakeQueueUrl"])
    # And under the name by which they are looked up.
    services = {line["service"] for part in by_part for line in metric_lines(cloud, part)}
    alarms = [about["Properties"] for about in template(cloud).values() if about["Type"] == "AWS::CloudWatch::Alarm"]
    own = [alarm["Dimensions"] for alarm in alarms if alarm.get("Namespace") == NAMESPACE]
    assert {each["Value"] for dimensions in own for each in dimensions} == services


def test_every_metric_of_ours_that_is_looked_at_is_one_that_the_handlers_know(cloud: Cloud):
    known = {value for name, value in vars(MetricName).items() if name.isupper()}
    assert {name for name, _ in read_by_alarms_and_dashboard(cloud)} == known
    assert {dimensions for _, dimensions in read_by_alarms_and_dashboard(cloud)} == {
        ("service",), ("function_id", "service"),
    }  # fmt: skip
