"""The event bus, and the one rule that brings all its events to the intake queue.

One rule and our own matching: a bus may have 300 rules, an app any number of triggers.
"""

from __future__ import annotations

from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from .queues import QueuePair, dead_letter_queue

__all__ = ["Bus"]

_EVERYTHING: Final = events.EventPattern(source=events.Match.prefix(""))


class Bus(Construct):
    """`bus` takes events in; `feed` lets a rule of any bus bring its events to the same intake queue."""

    def __init__(self, scope: Construct, construct_id: str, *, intake: QueuePair) -> None:
        super().__init__(scope, construct_id)
        self._intake = intake.queue
        self.undelivered = dead_letter_queue(self, "Undelivered")
        self.bus = events.EventBus(self, "Bus", description="Events that start and wake Milepost functions")
        self.feed("Everything", _EVERYTHING, bus=self.bus)

    def feed(
        self,
        construct_id: str,
        pattern: events.EventPattern,
        *,
        bus: events.IEventBus | None = None,
    ) -> events.Rule:
        """Bring the matching events of a bus (the account's default bus, unless given) to the intake."""
        rule = events.Rule(self, construct_id, event_bus=bus, event_pattern=pattern)
        rule.add_target(self.target(self._intake))
        return rule

    def target(self, queue: sqs.IQueue) -> targets.SqsQueue:
        """The intake as target of a rule; EventBridge retries for 24 hours before an event counts as undelivered."""
        return targets.SqsQueue(
            queue, dead_letter_queue=self.undelivered, max_event_age=Duration.hours(24), retry_attempts=185
        )
