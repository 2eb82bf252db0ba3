"""The table: runs, events, waits, timers, registry. On-demand capacity; kept when the stack is deleted."""

from __future__ import annotations

from typing import Final

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from constructs import Construct

from .names import TTL_ATTRIBUTE

__all__ = ["RunTable"]

_READ: Final = ("dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query")
_WRITE: Final = ("dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem")


class RunTable(Construct):
    """The table. Grants list exact actions and never include Scan."""

    def __init__(self, scope: Construct, construct_id: str, *, removal_policy: RemovalPolicy) -> None:
        super().__init__(scope, construct_id)
        text = dynamodb.AttributeType.STRING
        self.table = dynamodb.TableV2(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="pk", type=text),
            sort_key=dynamodb.Attribute(name="sk", type=text),
            billing=dynamodb.Billing.on_demand(),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute=TTL_ATTRIBUTE,
            removal_policy=removal_policy,
        )

    def grant_use(self, grantee: iam.IGrantable) -> None:
        """Allow reading and writing items."""
        self._grant(grantee, [*_READ, *_WRITE], self.table.table_arn)

    def grant_registry(self, grantee: iam.IGrantable) -> None:
        """Allow what registering an app needs."""
        actions = ["dynamodb:Query", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem"]
        self._grant(grantee, actions, self.table.table_arn)

    def grant_steps(self, grantee: iam.IGrantable) -> None:
        """Allow an app to save steps: read a run's header, records and event, and put records."""
        self._grant(grantee, ["dynamodb:GetItem"], self.table.table_arn, within=("F#*", "E#*"))
        self._grant(grantee, ["dynamodb:Query"], self.table.table_arn, within=("R#*",))
        self._grant(grantee, ["dynamodb:PutItem"], self.table.table_arn, within=("R#*",))

    @staticmethod
    def _grant(grantee: iam.IGrantable, actions: list[str], resource: str, *, within: tuple[str, ...] = ()) -> None:
        """`within` limits the grant to items whose partition key matches one of these patterns."""
        keys = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(within)}} if within else None
        granted = iam.Grant.add_to_principal(
            grantee=grantee, actions=actions, resource_arns=[resource], conditions=keys
        )
        granted.assert_success()
