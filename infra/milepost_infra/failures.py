"""How Lambda handles failures of asynchronous invocations: no retries, and a record to the work queue.

Milepost itself counts attempts and schedules retries. Lambda only retries an invocation that it could not start, for up
to four minutes.
"""

from __future__ import annotations

from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_sqs as sqs
from constructs import Construct

__all__ = ["LATEST_START", "failures_to", "keep_with"]

LATEST_START: Final = Duration.minutes(4)
"""Lambda reports an invocation that it could not start by then; the call's signature is valid for five minutes."""


def failures_to(
    scope: Construct, queue: sqs.IQueue, function: lambda_.IFunction, qualifier: str
) -> lambda_.EventInvokeConfig:
    """Configure a version or an alias. Allows the function to send to the queue, because Lambda uses its role."""
    return lambda_.EventInvokeConfig(
        scope,
        "Failures",
        function=function,
        qualifier=qualifier,
        max_event_age=LATEST_START,
        retry_attempts=0,
        on_failure=destinations.SqsDestination(queue),
    )


def keep_with(config: lambda_.EventInvokeConfig, version: lambda_.Version) -> None:
    """Keep the configuration with its version: pinned runs continue on it after newer versions are deployed."""
    resource = config.node.default_child
    named = version.node.default_child
    assert isinstance(resource, lambda_.CfnEventInvokeConfig)
    assert isinstance(named, lambda_.CfnVersion)
    # Removed if the deployment that creates it fails; otherwise it would block the next deployment.
    resource.apply_removal_policy(RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE)
    # Each version needs its own resource, or the next version would replace this one.
    resource.override_logical_id(f"Failures{named.logical_id}")
