"""An engine Lambda: own role with grants only, own log group, JSON logs with the platform's chatter off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from .acknowledged import RUNTIME, TRACES, acknowledge, wildcard
from .names import Handler
from .packing import Platform

__all__ = [
    "EngineCode",
    "EngineLambda",
    "architecture_of",
    "grant_invoke",
    "grant_network",
    "runtime_of",
    "write_only_role",
]

_ANY_VERSION: Final = "Runs are pinned to published versions of this one function, so all of them may be invoked."


@dataclass(frozen=True)
class EngineCode:
    """What all engine Lambdas of one Milepost share."""

    code: lambda_.Code
    platform: Platform
    environment: Mapping[str, str]
    log_retention: logs.RetentionDays
    tracing: bool


class EngineLambda(Construct):
    """One Lambda of the engine. What it may do is granted by whoever composes it."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        shared: EngineCode,
        handler: Handler,
        purpose: str,
        timeout: Duration,
        memory_mb: int = 256,
        environment: Mapping[str, str] | None = None,
        recursive: bool = False,
    ) -> None:
        super().__init__(scope, construct_id)
        self.log_group = logs.LogGroup(
            self, "Logs", retention=shared.log_retention, removal_policy=RemovalPolicy.DESTROY
        )
        self.role = write_only_role(self, "Role", self.log_group)
        self.function = lambda_.Function(
            self,
            "Function",
            description=purpose,
            code=shared.code,
            handler=handler.value,
            runtime=runtime_of(shared.platform),
            architecture=architecture_of(shared.platform),
            role=self.role,
            timeout=timeout,
            memory_size=memory_mb,
            environment={**shared.environment, **(environment or {})},
            log_group=self.log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
            # START, END and REPORT lines are the largest avoidable cost of a busy stack.
            system_log_level_v2=lambda_.SystemLogLevel.WARN,
            tracing=lambda_.Tracing.ACTIVE if shared.tracing else lambda_.Tracing.DISABLED,
            # A queue that feeds its own consumer looks like a loop and is cut off after 16 turns, unless allowed.
            recursive_loop=lambda_.RecursiveLoop.ALLOW if recursive else lambda_.RecursiveLoop.TERMINATE,
        )
        acknowledge(self.function, RUNTIME)
        if shared.tracing:
            acknowledge(self.role, TRACES)


def grant_invoke(role: iam.Role, function: lambda_.IFunction) -> iam.Grant:
    """Let a role call an app in any of its published versions."""
    any_version = f"{function.function_arn}:*"
    wildcard(role, any_version, _ANY_VERSION)
    return iam.Grant.add_to_principal(
        grantee=role, actions=["lambda:InvokeFunction"], resource_arns=[function.function_arn, any_version]
    )


def write_only_role(scope: Construct, construct_id: str, log_group: logs.LogGroup) -> iam.Role:
    """A role of a Lambda that may write its own log, and nothing else yet: no managed policy."""
    role = iam.Role(scope, construct_id, assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    log_group.grant_write(role)
    return role


def grant_network(role: iam.Role) -> None:
    """Let a Lambda have network interfaces in a VPC. The CDK grants it to roles that it makes itself, not to ours.

    See "Giving Lambda functions access to resources in an Amazon VPC": Lambda asks for these six, for any resource.
    """
    actions = ("CreateNetworkInterface", "DescribeNetworkInterfaces", "DescribeSubnets", "DeleteNetworkInterface")
    names = [f"ec2:{action}" for action in (*actions, "AssignPrivateIpAddresses", "UnassignPrivateIpAddresses")]
    wildcard(role, "*", "Network interfaces are made by Lambda itself; their names are not known beforehand.")
    iam.Grant.add_to_principal(grantee=role, actions=names, resource_arns=["*"]).assert_success()


def runtime_of(platform: Platform) -> lambda_.Runtime:
    """The managed runtime of a platform's Python."""
    return lambda_.Runtime(f"python{platform.python}", lambda_.RuntimeFamily.PYTHON)


def architecture_of(platform: Platform) -> lambda_.Architecture:
    """The processor of a platform."""
    return lambda_.Architecture.ARM_64 if platform.architecture == "arm64" else lambda_.Architecture.X86_64
