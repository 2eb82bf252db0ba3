"""Timers: every minute, queue timers due soon, start cron runs, and look for stuck runs."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from constructs import Construct

from .compute import EngineCode, EngineLambda
from .names import Handler
from .queues import QueuePair
from .table import RunTable

__all__ = ["Timers"]


class Timers(Construct):
    """The timers Lambda on a one-minute rule. After a failed tick, the next one catches up."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        shared: EngineCode,
        table: RunTable,
        work: QueuePair,
    ) -> None:
        super().__init__(scope, construct_id)
        self.engine = EngineLambda(
            self, "Lambda", shared=shared, handler=Handler.TIMERS, timeout=Duration.seconds(55),
            purpose="Milepost timers: due sleeps, waits and cron schedules, and stuck runs",
        )  # fmt: skip
        self.rule = events.Rule(self, "EveryMinute", schedule=events.Schedule.rate(Duration.minutes(1)))
        self.rule.add_target(
            targets.LambdaFunction(self.engine.function, retry_attempts=1, max_event_age=Duration.minutes(1))
        )
        table.grant_use(self.engine.role)
        work.queue.grant_send_messages(self.engine.role)
