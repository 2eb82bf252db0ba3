"""Metrics for dashboards and alarms: Milepost's own and those of AWS services."""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sqs as sqs

from .names import NAMESPACE, MetricName

__all__ = ["Measures"]

_PERIOD = Duration.minutes(5)


@dataclass(frozen=True)
class Measures:
    """The metrics of one Milepost; `service` identifies it within the account."""

    service: str

    def total(self, name: MetricName, label: str | None = None, *, statistic: str = "Sum") -> cloudwatch.Metric:
        """A metric over all functions."""
        return cloudwatch.Metric(
            namespace=NAMESPACE, metric_name=name.value, dimensions_map={"service": self.service},
            statistic=statistic, period=_PERIOD, label=label,
        )  # fmt: skip

    def by_function(self, name: MetricName, *, statistic: str = "Sum", prefix: str = "") -> cloudwatch.MathExpression:
        """A line for each function, including functions deployed later."""
        search = (
            f'SEARCH(\'{{{NAMESPACE},service,function_id}} MetricName="{name.value}" service="{self.service}"\', '
            f"'{statistic}', {_PERIOD.to_seconds():.0f})"
        )
        return cloudwatch.MathExpression(expression=search, label=prefix, using_metrics={}, period=_PERIOD)

    @staticmethod
    def oldest_message(queue: sqs.IQueue, label: str | None = None) -> cloudwatch.Metric:
        """Age of a queue's oldest message in seconds."""
        return queue.metric_approximate_age_of_oldest_message(label=label, period=Duration.minutes(1))
