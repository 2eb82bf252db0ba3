"""Keeps a deployment from deleting the code of live runs.

A run stays on the version of the Lambda that it started on, and a deleted Lambda takes its versions along.
CloudFormation deletes what the new template lacks only after everything else has succeeded; before that, this custom
resource is told which Lambdas there will be, looks for live runs on those that there will not be, and fails if it finds
one.
"""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Aws, CfnResource, CustomResource, Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from .compute import EngineLambda
from .table import RunTable

__all__ = ["KeptCode"]


class KeptCode(Construct):
    """See the module. `keep` names a Lambda of an app."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        registrar: EngineLambda,
        table: RunTable,
        abandoned: Sequence[str],
    ) -> None:
        super().__init__(scope, construct_id)
        self._functions: list[str] = []
        # A rollback must not fail; only the state of the stack tells it from a deployment.
        state = iam.Grant.add_to_principal(
            grantee=registrar.role, actions=["cloudformation:DescribeStacks"], resource_arns=[Aws.STACK_ID]
        )
        self._resource = CustomResource(
            self,
            "Guard",
            service_token=registrar.function.function_arn,
            resource_type="Custom::MilepostCode",
            service_timeout=Duration.minutes(5),
            properties={"Functions": [], "Abandoned": list(abandoned)},
        )
        state.apply_before(self._resource)
        self._resource.node.add_dependency(registrar, table)

    def keep(self, function: lambda_.IFunction) -> None:
        """Say that the stack has this Lambda."""
        self._functions.append(function.function_arn)
        made = self._resource.node.default_child
        assert isinstance(made, CfnResource)
        made.add_property_override("Functions", self._functions)
