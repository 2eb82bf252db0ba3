"""Alarms. Each description says what it means and where to read what to do. No alarm means no action is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from .measures import Measures
from .names import MetricName

__all__ = ["Alarms"]

_OLDEST_SECONDS: Final = 300

_OWN: Final = {
    "FailedRuns": MetricName.RUNS_FAILED,
    "StuckRuns": MetricName.RUNS_RESCUED,
    "RefusedEvents": MetricName.EVENTS_REFUSED,
}
_MEANINGS: Final = {
    "FailedRuns": "Runs failed after all their attempts. List them, fix the function, then replay them.",
    "StuckRuns": "The sweeper found runs whose next step was overdue and requested it again. A message was lost or "
    "a Lambda was killed: read the orchestrator's log.",
    "RefusedEvents": "Events were received that cannot be read. Each is in the dead-letter queue of Events; the log of "
    "the intake says what is wrong with it.",
    "DeadLetters": "Messages could not be processed. Read the log, fix the cause, then run `milepost redrive --all`.",
    "OldestMessage": f"The oldest message of a queue has waited longer than {_OLDEST_SECONDS} s: raise "
    "max_concurrency, or find out why the Lambda that reads the queue fails.",
    "LambdaErrors": "A Lambda of the engine itself fails; its log says why. Nothing is lost: messages are redelivered.",
}


class Alarms(Construct):
    """All alarms of one Milepost. A topic is notified when an alarm starts and when it ends."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        measures: Measures,
        queues: Mapping[str, sqs.IQueue],
        dead_letters: Mapping[str, sqs.IQueue],
        lambdas: Mapping[str, lambda_.IFunction],
        topic: sns.ITopic | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._topic = topic
        self.all: list[cloudwatch.Alarm] = []
        # Metrics have no labels here: with a label the CDK creates an alarm on metric math, which costs more.
        for alarm, metric in _OWN.items():
            self._add(alarm, alarm, measures.total(metric), 1)
        for name, queue in dead_letters.items():
            messages = queue.metric_approximate_number_of_messages_visible(
                statistic="Maximum", period=Duration.minutes(1)
            )
            self._add("DeadLetters", f"DeadLetters{name}", messages, 1)
        for name, queue in queues.items():
            age = measures.oldest_message(queue)
            self._add("OldestMessage", f"OldestMessage{name}", age, _OLDEST_SECONDS, periods=5)
        for name, function in lambdas.items():
            errors = function.metric_errors(period=Duration.minutes(1), statistic="Sum")
            self._add("LambdaErrors", f"LambdaErrors{name}", errors, 1, periods=3)

    def _add(self, kind: str, name: str, metric: cloudwatch.IMetric, threshold: float, *, periods: int = 1) -> None:
        alarm = cloudwatch.Alarm(
            self,
            name,
            metric=metric,
            threshold=threshold,
            evaluation_periods=periods,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description=f"{_MEANINGS[kind]} See docs/operating.md#{kind.lower()}.",
        )
        if self._topic is not None:
            alarm.add_alarm_action(actions.SnsAction(self._topic))
            alarm.add_ok_action(actions.SnsAction(self._topic))
        self.all.append(alarm)
