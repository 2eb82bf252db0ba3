"""Alarms, dashboard and saved queries: what they say, and where the numbers come from."""

from __future__ import annotations

import json
import re

from milepost_infra.names import NAMESPACE, MetricName, Output

from .test_delivery import dead_letter_queues, queues_with_consumers


def alarms(made) -> dict[str, dict]:
    return made.all("AWS::CloudWatch::Alarm")


def queue_of(alarm) -> str:
    names = [d["Value"] for d in alarm.get("Dimensions", ()) if d["Name"] == "QueueName"]
    return names[0]["Fn::GetAtt"][0] if names else ""


def dashboard(made) -> str:
    (found,) = made.all("AWS::CloudWatch::Dashboard").values()
    parts = found["DashboardBody"]["Fn::Join"][1]
    return "".join(part if isinstance(part, str) else "TOKEN" for part in parts)


def test_an_alarm_watches_every_queue_of_dead_letters_and_rings_at_the_first(full):
    watching = {
        queue_of(alarm): alarm
        for alarm in alarms(full).values()
        if alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
    }
    assert set(watching) == dead_letter_queues(full)
    assert all((alarm["Threshold"], alarm["EvaluationPeriods"]) == (1, 1) for alarm in watching.values())


def test_an_alarm_watches_the_oldest_message_of_every_queue_that_is_read(full):
    watching = {
        queue_of(alarm) for alarm in alarms(full).values() if alarm["MetricName"] == "ApproximateAgeOfOldestMessage"
    }
    assert watching == {name for name, _, _ in queues_with_consumers(full)}


def test_alarms_watch_failed_runs_stuck_runs_and_refused_events(plain):
    own = {alarm["MetricName"] for alarm in alarms(plain).values() if alarm.get("Namespace") == NAMESPACE}
    assert own == {MetricName.RUNS_FAILED, MetricName.RUNS_RESCUED, MetricName.EVENTS_REFUSED}


def test_alarms_watch_the_errors_of_each_lambda_that_moves_runs(plain):
    failing = [alarm for alarm in alarms(plain).values() if alarm["MetricName"] == "Errors"]
    assert len(failing) == 3


def test_no_alarm_costs_more_than_a_plain_one(full):
    assert not [alarm for alarm in alarms(full).values() if "Metrics" in alarm]


def test_silence_is_no_alarm(full):
    assert {alarm["TreatMissingData"] for alarm in alarms(full).values()} == {"notBreaching"}


def test_an_alarm_says_what_it_means_and_where_to_read_what_to_do(full):
    for alarm in alarms(full).values():
        assert re.search(r"\. See docs/operating\.md#[a-z]+\.$", alarm["AlarmDescription"])


def test_the_topic_is_notified_when_an_alarm_starts_and_ends(plain, full):
    topics = ["arn:aws:sns:eu-west-1:123456789012:ops"]
    assert all((a["AlarmActions"], a["OKActions"]) == (topics, topics) for a in alarms(full).values())
    assert not [a for a in alarms(plain).values() if "AlarmActions" in a]


def test_the_dashboard_is_valid_and_shows_every_metric(plain):
    body = dashboard(plain)
    shown = json.loads(body)
    titles = [widget["properties"].get("title", "") for widget in shown["widgets"]]
    assert "Step latency (ms)" in titles
    assert "Cost of Milepost itself, dollars per hour at list price" in titles
    assert len(titles) == len(set(titles))
    missing = [metric for metric in MetricName if metric.value not in body]
    assert missing == []


def test_metrics_have_the_dimensions_stack_and_function_and_no_others(plain):
    body = dashboard(plain)
    dimensions = set(re.findall(r"\{Milepost,([a-z_,]+)\}", body))
    assert dimensions == {"service,function_id"}
    variables = {
        f["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
        for f in plain.all("AWS::Lambda::Function").values()
        if f["Handler"].startswith("milepost_handlers")
    }
    assert variables == {plain.made.milepost.service}


def test_three_questions_to_the_logs_are_saved(plain):
    found = plain.all("AWS::Logs::QueryDefinition").values()
    titles = {query["Name"].split("/")[1] for query in found}
    assert titles == {"failed runs with their event", "one run's story", "slowest steps"}
    groups = set(plain.all("AWS::Logs::LogGroup"))
    assert all({one["Ref"] for one in query["LogGroupNames"]} == groups for query in found)


def test_the_stack_has_the_outputs_that_the_command_line_needs(full):
    assert set(full.template["Outputs"]) >= {output.value for output in Output}
