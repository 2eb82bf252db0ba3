"""An engine Lambda: its own role with explicit grants only, its own log group, JSON logs without platform lines."""

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

_ANY_VERSION: Final = "Runs are pinned to published versions of this function, so all versions may be invoked."


@dataclass(frozen=True)
class EngineCode:
    """Settings shared by all engine Lambdas of one Milepost."""

    code: lambda_.Code
    platform: Platform
    environment: Mapping[str, str]
    log_retention: logs.RetentionDays
    tracing: bool


class EngineLambda(Construct):
    """One Lambda of the engine. The enclosing construct grants its permissions."""

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
            # A Lambda that sends to its own queue looks like a loop, which Lambda stops after 16 turns unless allowed.
            recursive_loop=lambda_.RecursiveLoop.ALLOW if recursive else lambda_.RecursiveLoop.TERMINATE,
        )
        acknowledge(self.function, RUNTIME)
        if shared.tracing:
            acknowledge(self.role, TRACES)


def grant_invoke(role: iam.Role, function: lambda_.IFunction) -> iam.Grant:
    """Allow a role to invoke all published versions of an app."""
    any_version = f"{function.function_arn}:*"
    wildcard(role, any_version, _ANY_VERSION)
    return iam.Grant.add_to_principal(
        grantee=role, actions=["lambda:InvokeFunction"], resource_arns=[function.function_arn, any_version]
    )


def write_only_role(scope: Construct, construct_id: str, log_group: logs.LogGroup) -> iam.Role:
    """A Lambda role that may only write its own log; no managed policies."""
    role = iam.Role(scope, construct_id, assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    log_group.grant_write(role)
    return role


def grant_network(role: iam.Role) -> None:
    """Allow a Lambda to use network interfaces in a VPC. The CDK grants this only to roles that it creates itself.

    See "Giving Lambda functions access to resources in an Amazon VPC": Lambda needs these six actions on any resource.
    """
    actions = ("CreateNetworkInterface", "DescribeNetworkInterfaces", "DescribeSubnets", "DeleteNetworkInterface")
    names = [f"ec2:{action}" for action in (*actions, "AssignPrivateIpAddresses", "UnassignPrivateIpAddresses")]
    wildcard(role, "*", "Lambda itself creates the network interfaces; their names are not known at deployment.")
    iam.Grant.add_to_principal(grantee=role, actions=names, resource_arns=["*"]).assert_success()


def runtime_of(platform: Platform) -> lambda_.Runtime:
    """The managed runtime for a platform's Python."""
    return lambda_.Runtime(f"python{platform.python}", lambda_.RuntimeFamily.PYTHON)


def architecture_of(platform: Platform) -> lambda_.Architecture:
    """The processor architecture of a platform."""
    return lambda_.Architecture.ARM_64 if platform.architecture == "arm64" else lambda_.Architecture.X86_64
