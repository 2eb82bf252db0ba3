"""Alarms. Each description says what it means and where to read what to do. No alarm means no action is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from .errors import InfraError
from .measures import Measures
from .names import MetricName

__all__ = ["AlarmSettings", "Alarms", "Watched"]

_MINUTE: Final = Duration.minutes(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmSettings:
    """When alarms start. `None` leaves an alarm out; each costs $0.10 a month.

    Args:
        failed_runs: Runs that fail within five minutes. 1 by default.
        stuck_runs: Runs that the sweeper has to rescue within five minutes. 1 by default.
        refused_events: Events that cannot be read, within five minutes. 1 by default.
        failed_messages: Failed attempts to process a message within five minutes. 3 by default: a message that fails
            once or twice and then succeeds is no reason to wake anybody, and in an outage even a single message fails
            six times in five minutes.
        dead_letters: Messages in a dead-letter queue. 1 by default.
        oldest_message_seconds: Age of the oldest message of a queue, for five minutes. 300 by default.
        lambda_errors: Failures of a Lambda of the engine within a minute, in three consecutive minutes. 1 by default.
        lambda_throttles: Throttled invocations of a Lambda of the engine within a minute, in three consecutive
            minutes. 1 by default.
        table_throttles: Throttled reads, or writes, of the table within five minutes. 100 by default: single ones are
            retried and do no harm.
        missed_ticks: Consecutive minutes without a tick of the timers. 5 by default.
        lost_answers: Failure records of an asynchronously invoked app that Lambda could not deliver, within five
            minutes. 1 by default.
        runs_started: Runs that start within five minutes. 100,000 by default, about $10 an hour: more than that is
            often a loop, such as a function that sends the event which starts it.

    Raises InfraError for a threshold below 1.
    """

    failed_runs: int | None = 1
    stuck_runs: int | None = 1
    refused_events: int | None = 1
    failed_messages: int | None = 3
    dead_letters: int | None = 1
    oldest_message_seconds: int | None = 300
    lambda_errors: int | None = 1
    lambda_throttles: int | None = 1
    table_throttles: int | None = 100
    missed_ticks: int | None = 5
    lost_answers: int | None = 1
    runs_started: int | None = 100_000

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InfraError(
                    "MP613", f"AlarmSettings({name}={value}) would always be in alarm: give at least 1, or None."
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What alarms of one Milepost look at, by the names that they get."""

    measures: Measures
    queues: Mapping[str, sqs.IQueue]
    dead_letters: Mapping[str, sqs.IQueue]
    lambdas: Mapping[str, lambda_.IFunction]
    timers: lambda_.IFunction
    table: dynamodb.ITable


_MEANINGS: Final = {
    "FailedRuns": "Runs failed after all their attempts. List them, fix the function, then replay them.",
    "StuckRuns": "The sweeper found runs whose next step was overdue and requested it again. A message was lost or "
    "a Lambda was killed: read the orchestrator's log.",
    "RefusedEvents": "Events were received that cannot be read. Each is in the dead-letter queue of Events; the log of "
    "the intake says what is wrong with it.",
    "FailedMessages": "The intake or the orchestrator fails to process messages. They are redelivered ten times within "
    "half an hour; the log lines `message failed` say why.",
    "DeadLetters": "Messages could not be processed. Read the log, fix the cause, then run `milepost redrive --all`.",
    "OldestMessage": "The oldest message of a queue has waited too long: raise max_concurrency, or find out why the "
    "Lambda that reads the queue fails.",
    "LambdaErrors": "A Lambda of the engine itself fails; its log says why. Nothing is lost: messages are redelivered.",
    "LambdaThrottles": "Lambda refuses to start a Lambda of the engine: the account's concurrency is used up. Nothing "
    "is lost, but everything is late.",
    "TableThrottles": "DynamoDB throttles the table. Calls are retried; runs are late.",
    "MissedTicks": "The timers have not run for minutes: no sleep ends, no cron schedule starts, no stuck run is "
    "found. The rule may be disabled, or may not invoke the Lambda.",
    "LostAnswers": "Lambda could not report that an invocation of an app failed: its role may not send to the work "
    "queue. The sweeper continues such runs, later.",
    "RunawayVolume": "Far more runs start than usual. A function may send the event that starts it.",
}


class Alarms(Construct):
    """All alarms of one Milepost. A topic is notified when an alarm starts and when it ends."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: AlarmSettings,
        watched: Watched,
        topic: sns.ITopic | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._settings = settings
        self._topic = topic
        self.all: list[cloudwatch.Alarm] = []
        # Metrics have no labels here: with a label the CDK creates an alarm on metric math, which costs more.
        self._watch_runs(watched.measures)
        self._watch_queues(watched)
        self._watch_lambdas(watched)
        self._watch_table(watched.table)

    def watch_answers(self, name: str, function: lambda_.IFunction) -> None:
        """Watch that Lambda can report the failures of an app that is invoked asynchronously."""
        lost = function.metric("DestinationDeliveryFailures", statistic="Sum", period=Duration.minutes(5))
        self._add("LostAnswers", f"LostAnswers{name}", lost, self._settings.lost_answers)

    def _watch_runs(self, measures: Measures) -> None:
        own: dict[str, tuple[MetricName, int | None]] = {
            "FailedRuns": (MetricName.RUNS_FAILED, self._settings.failed_runs),
            "StuckRuns": (MetricName.RUNS_RESCUED, self._settings.stuck_runs),
            "RefusedEvents": (MetricName.EVENTS_REFUSED, self._settings.refused_events),
            "FailedMessages": (MetricName.MESSAGES_FAILED, self._settings.failed_messages),
            "RunawayVolume": (MetricName.RUNS_STARTED, self._settings.runs_started),
        }
        for name, (metric, threshold) in own.items():
            self._add(name, name, measures.total(metric), threshold)

    def _watch_queues(self, watched: Watched) -> None:
        for name, queue in watched.dead_letters.items():
            messages = queue.metric_approximate_number_of_messages_visible(statistic="Maximum", period=_MINUTE)
            self._add("DeadLetters", f"DeadLetters{name}", messages, self._settings.dead_letters)
        for name, queue in watched.queues.items():
            age = watched.measures.oldest_message(queue)
            self._add("OldestMessage", f"OldestMessage{name}", age, self._settings.oldest_message_seconds, periods=5)

    def _watch_lambdas(self, watched: Watched) -> None:
        for name, function in watched.lambdas.items():
            errors = function.metric_errors(period=_MINUTE, statistic="Sum")
            self._add("LambdaErrors", f"LambdaErrors{name}", errors, self._settings.lambda_errors, periods=3)
            throttles = function.metric_throttles(period=_MINUTE, statistic="Sum")
            self._add(
                "LambdaThrottles", f"LambdaThrottles{name}", throttles, self._settings.lambda_throttles, periods=3
            )
        if self._settings.missed_ticks is not None:
            ticks = watched.timers.metric_invocations(period=_MINUTE, statistic="Sum")
            self._add("MissedTicks", "MissedTicks", ticks, 1, periods=self._settings.missed_ticks, silence=True)

    def _watch_table(self, table: dynamodb.ITable) -> None:
        for kind in ("Read", "Write"):
            metric = table.metric(f"{kind}ThrottleEvents", statistic="Sum", period=Duration.minutes(5))
            self._add("TableThrottles", f"TableThrottles{kind}", metric, self._settings.table_throttles)

    def _add(
        self,
        kind: str,
        name: str,
        metric: cloudwatch.IMetric,
        threshold: float | None,
        *,
        periods: int = 1,
        silence: bool = False,
    ) -> None:
        """`silence`: alarm when there is less than the threshold, or nothing at all."""
        if threshold is None:
            return
        compare, missing = cloudwatch.ComparisonOperator, cloudwatch.TreatMissingData
        alarm = cloudwatch.Alarm(
            self,
            name,
            metric=metric,
            threshold=threshold,
            evaluation_periods=periods,
            comparison_operator=compare.LESS_THAN_THRESHOLD if silence else compare.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=missing.BREACHING if silence else missing.NOT_BREACHING,
            alarm_description=f"{_MEANINGS[kind]} See docs/operating.md#{kind.lower()}.",
        )
        if self._topic is not None:
            alarm.add_alarm_action(actions.SnsAction(self._topic))
            alarm.add_ok_action(actions.SnsAction(self._topic))
        self.all.append(alarm)
