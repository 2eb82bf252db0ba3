"""The CloudWatch dashboard: runs, steps, queues, rescues and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from .measures import Measures
from .names import MetricName

__all__ = ["Dashboard"]

_HOUR: Final = Duration.hours(1)
_WIDTH: Final = 12

# List prices of us-east-1 in November 2026, in dollars; docs/cost.md has the sources.
_PER_REQUEST: Final = 0.20e-6
_PER_GB_MS: Final = 0.0000133334 / 1000
_PER_WRITE_UNIT: Final = 0.625e-6
_PER_READ_UNIT: Final = 0.125e-6
_PER_QUEUE_CALL: Final = 0.40e-6
_PER_EVENT: Final = 1.0e-6


class Dashboard(Construct):
    """One dashboard for one Milepost."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        measures: Measures,
        queues: Mapping[str, sqs.IQueue],
        dead_letters: Mapping[str, sqs.IQueue],
        lambdas: Mapping[str, tuple[lambda_.IFunction, int]],
        table: dynamodb.ITableV2,
        bus: events.IEventBus,
    ) -> None:
        super().__init__(scope, construct_id)
        self._measures = measures
        self.dashboard = cloudwatch.Dashboard(self, "Dashboard", default_interval=Duration.hours(12))
        self.dashboard.add_widgets(*self._runs())
        self.dashboard.add_widgets(*self._steps())
        self.dashboard.add_widgets(*self._queues(queues, dead_letters))
        self.dashboard.add_widgets(
            self._graph(
                "Rescues and throttling",
                [
                    measures.total(MetricName.RUNS_RESCUED, "rescued by the sweeper"),
                    measures.total(MetricName.INVOCATIONS_THROTTLED, "throttled invocations"),
                    measures.total(MetricName.EVENTS_REFUSED, "refused events"),
                    measures.total(MetricName.MESSAGES_FAILED, "failed messages"),
                ],
            ),
            self._graph(
                "Cost of Milepost itself, dollars per hour at list price", [self._cost(queues, lambdas, table, bus)]
            ),
        )

    def _runs(self) -> list[cloudwatch.IWidget]:
        titles = {
            MetricName.RUNS_STARTED: "Runs started",
            MetricName.RUNS_COMPLETED: "Runs completed",
            MetricName.RUNS_FAILED: "Runs failed",
            MetricName.RUNS_CANCELLED: "Runs cancelled",
        }
        return [self._graph(title, [self._measures.by_function(name)], width=6) for name, title in titles.items()]

    def _steps(self) -> list[cloudwatch.IWidget]:
        m = self._measures
        latency = [m.by_function(MetricName.STEP_LATENCY, statistic=s, prefix=s) for s in ("p50", "p99")]
        delay = [m.total(MetricName.FIRST_STEP_DELAY, s, statistic=s) for s in ("p50", "p99")]
        return [
            self._graph("Step latency (ms)", latency, width=8),
            self._graph("Time from event to first step (ms)", delay, width=8),
            self._graph("Retries", [m.by_function(MetricName.STEP_RETRIES)], width=8),
        ]

    def _queues(
        self, queues: Mapping[str, sqs.IQueue], dead_letters: Mapping[str, sqs.IQueue]
    ) -> list[cloudwatch.IWidget]:
        ages = [self._measures.oldest_message(queue, name) for name, queue in queues.items()]
        dead = [
            queue.metric_approximate_number_of_messages_visible(label=name, statistic="Maximum")
            for name, queue in dead_letters.items()
        ]
        return [self._graph("Age of the oldest message (s)", ages), self._graph("Dead letters", dead)]

    @staticmethod
    def _graph(title: str, lines: Sequence[cloudwatch.IMetric], *, width: int = _WIDTH) -> cloudwatch.GraphWidget:
        axis = cloudwatch.YAxisProps(min=0, show_units=False)
        return cloudwatch.GraphWidget(title=title, left=list(lines), left_y_axis=axis, width=width)

    @staticmethod
    def _cost(
        queues: Mapping[str, sqs.IQueue],
        lambdas: Mapping[str, tuple[lambda_.IFunction, int]],
        table: dynamodb.ITableV2,
        bus: events.IEventBus,
    ) -> cloudwatch.MathExpression:
        """The cost of each hour, without storage, logs and the apps' own Lambdas."""
        used: dict[str, cloudwatch.IMetric] = {}
        terms: list[str] = []

        def add(metric: cloudwatch.IMetric, price: float) -> None:
            name = f"m{len(used)}"
            used[name] = metric
            terms.append(f"FILL({name},0)*{price:.12f}")

        for function, memory_mb in lambdas.values():
            add(function.metric_invocations(period=_HOUR), _PER_REQUEST)
            add(function.metric_duration(period=_HOUR, statistic="Sum"), _PER_GB_MS * memory_mb / 1024)
        add(table.metric_consumed_write_capacity_units(period=_HOUR), _PER_WRITE_UNIT)
        add(table.metric_consumed_read_capacity_units(period=_HOUR), _PER_READ_UNIT)
        for queue in queues.values():
            # Each message is sent, received and deleted; a batch of ten shares the last two.
            add(queue.metric_number_of_messages_sent(period=_HOUR), _PER_QUEUE_CALL * 1.2)
        add(_events_of(bus), _PER_EVENT)
        return cloudwatch.MathExpression(
            expression=" + ".join(terms), using_metrics=used, label="dollars", period=_HOUR
        )


def _events_of(bus: events.IEventBus) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace="AWS/Events", metric_name="MatchedEvents", statistic="Sum", period=_HOUR,
        dimensions_map={"EventBusName": bus.event_bus_name},
    )  # fmt: skip
