"""The event bus, and a single rule that sends all its events to the event queue.

The engine matches triggers itself, because a bus is limited to 300 rules while an app may have any number of triggers.
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
    """`bus` receives events; `feed` adds a rule that sends events of any bus to the same event queue."""

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
        """Send matching events of a bus (by default the account's default bus) to the event queue."""
        rule = events.Rule(self, construct_id, event_bus=bus, event_pattern=pattern)
        rule.add_target(self.target(self._intake))
        return rule

    def target(self, queue: sqs.IQueue) -> targets.SqsQueue:
        """The event queue as a rule's target. EventBridge retries for 24 hours before an event is undelivered."""
        return targets.SqsQueue(
            queue, dead_letter_queue=self.undelivered, max_event_age=Duration.hours(24), retry_attempts=185
        )
