"""Queues with dead-letter queues. They keep messages for 14 days and refuse calls without TLS."""

from __future__ import annotations

from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from .acknowledged import DEAD_LETTERS, acknowledge

__all__ = ["DELIVERIES", "QueuePair", "dead_letter_queue", "visibility_for"]

DELIVERIES: Final = 10
"""Deliveries of a message before it becomes a dead letter. More than three, because throttling and lost races count."""

_KEPT: Final = Duration.days(14)


def visibility_for(timeout: Duration) -> Duration:
    """Six times the consumer's timeout, as AWS recommends for queues that a Lambda reads in batches."""
    return Duration.seconds(timeout.to_seconds() * 6)


class QueuePair(Construct):
    """A queue for one Lambda with the given timeout, and its dead-letter queue."""

    def __init__(self, scope: Construct, construct_id: str, *, consumer_timeout: Duration) -> None:
        super().__init__(scope, construct_id)
        self.dead_letters = dead_letter_queue(self, "DeadLetters")
        self.queue = sqs.Queue(
            self,
            "Queue",
            visibility_timeout=visibility_for(consumer_timeout),
            retention_period=_KEPT,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            dead_letter_queue=sqs.DeadLetterQueue(max_receive_count=DELIVERIES, queue=self.dead_letters),
        )


def dead_letter_queue(scope: Construct, construct_id: str) -> sqs.Queue:
    """A queue for messages that could not be processed."""
    queue = sqs.Queue(
        scope, construct_id, retention_period=_KEPT, encryption=sqs.QueueEncryption.SQS_MANAGED, enforce_ssl=True
    )
    acknowledge(queue, DEAD_LETTERS)
    return queue
