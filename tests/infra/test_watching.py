"""Alarms, dashboard and saved queries: what they say, and where the numbers come from."""

from __future__ import annotations

import json
import re

import pytest
from aws_cdk import Duration

from milepost_handlers.batch import _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, DELIVERIES
from milepost_infra import AlarmSettings
from milepost_infra.errors import InfraError
from milepost_infra.names import NAMESPACE, MetricName, Output

from .rig import make, synthesised
from .test_delivery import dead_letter_queues, queues_with_consumers


def alarms(made) -> dict[str, dict]:
    return made.all("AWS::CloudWatch::Alarm")


def watching(made, metric: str) -> list[dict]:
    return [alarm for alarm in alarms(made).values() if alarm["MetricName"] == metric]


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
    assert own == {
        MetricName.RUNS_FAILED,
        MetricName.RUNS_RESCUED,
        MetricName.EVENTS_REFUSED,
        MetricName.MESSAGES_FAILED,
        MetricName.RUNS_STARTED,
    }


def test_alarms_watch_errors_and_throttles_of_each_lambda_that_moves_or_starts_runs_and_of_the_api(plain, full):
    for made, count in ((plain, 4), (full, 5)):
        for metric in ("Errors", "Throttles"):
            assert len(watching(made, metric)) == count, metric


def test_an_alarm_misses_the_ticks_of_the_timers(plain):
    (alarm,) = watching(plain, "Invocations")
    assert alarm["ComparisonOperator"] == "LessThanThreshold"
    assert (alarm["Threshold"], alarm["Period"], alarm["EvaluationPeriods"]) == (1, 60, 5)
    assert alarm["TreatMissingData"] == "breaching"
    (rule,) = [rule for rule in plain.all("AWS::Events::Rule").values() if "ScheduleExpression" in rule]
    (target,) = rule["Targets"]
    (name,) = [each["Value"]["Ref"] for each in alarm["Dimensions"] if each["Name"] == "FunctionName"]
    assert target["Arn"]["Fn::GetAtt"][0] == name


def test_alarms_watch_throttled_reads_and_writes_of_the_table(plain):
    (table,) = plain.all("AWS::DynamoDB::GlobalTable")
    for metric in ("ReadThrottleEvents", "WriteThrottleEvents"):
        (alarm,) = watching(plain, metric)
        assert [each["Value"]["Ref"] for each in alarm["Dimensions"]] == [table]


def test_an_outage_in_which_one_message_fails_rings_within_five_minutes(plain):
    pauses = [min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**n) for n in range(DELIVERIES)]
    failures = [sum(pauses[:n]) for n in range(DELIVERIES)]
    (alarm,) = watching(plain, MetricName.MESSAGES_FAILED)
    assert sum(at < alarm["Period"] for at in failures) >= alarm["Threshold"] > 2
    assert (alarm["Period"], alarm["EvaluationPeriods"]) == (300, 1)


def test_an_alarm_watches_the_answers_of_an_app_that_is_invoked_asynchronously(tmp_path):
    made = synthesised(lambda app: make(tmp_path, app=app, app_options={"timeout": Duration.minutes(10)}))
    assert len(watching(made, "DestinationDeliveryFailures")) == 1


def test_thresholds_are_settings_and_none_leaves_an_alarm_out(tmp_path):
    settings = AlarmSettings(failed_runs=20, dead_letters=None, missed_ticks=None, oldest_message_seconds=60)
    made = synthesised(lambda app: make(tmp_path, app=app, alarms=settings))
    (failed,) = watching(made, MetricName.RUNS_FAILED)
    assert failed["Threshold"] == 20
    assert {alarm["Threshold"] for alarm in watching(made, "ApproximateAgeOfOldestMessage")} == {60}
    for metric in ("ApproximateNumberOfMessagesVisible", "Invocations"):
        assert watching(made, metric) == []


def test_a_milepost_without_alarms_has_none_and_costs_none(tmp_path):
    made = synthesised(lambda app: make(tmp_path, app=app, alarms=None, app_options={"timeout": Duration.minutes(10)}))
    assert alarms(made) == {}


def test_a_threshold_that_is_always_reached_is_refused():
    with pytest.raises(InfraError, match=r"MP613.*failed_runs=0"):
        AlarmSettings(failed_runs=0)


def test_no_alarm_costs_more_than_a_plain_one(full):
    assert not [alarm for alarm in alarms(full).values() if "Metrics" in alarm]


def test_silence_is_no_alarm_except_where_it_is_the_fault(full):
    silent = {alarm["MetricName"] for alarm in alarms(full).values() if alarm["TreatMissingData"] != "notBreaching"}
    assert silent == {"Invocations"}


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
