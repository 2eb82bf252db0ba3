"""What Lambda does about an app's invocations that nobody waits for: no retries of its own, failures to the work queue.

Milepost counts attempts and paces them itself. Lambda calls again only what it could not begin, while it is young.
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
"""An event that could not begin by then is given back; the signature of its call is good for five minutes."""


def failures_to(
    scope: Construct, queue: sqs.IQueue, function: lambda_.IFunction, qualifier: str
) -> lambda_.EventInvokeConfig:
    """Configure a version or an alias. Grants the function to send to the queue: Lambda sends in its name."""
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
    """Let the configuration stay with its version: runs that are pinned to it go on after the next one came."""
    resource = config.node.default_child
    named = version.node.default_child
    assert isinstance(resource, lambda_.CfnEventInvokeConfig)
    assert isinstance(named, lambda_.CfnVersion)
    # What a failed deployment made goes: the next one would find it in its way.
    resource.apply_removal_policy(RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE)
    # A resource of its own for each version, or the next one would take its place.
    resource.override_logical_id(f"Failures{named.logical_id}")
