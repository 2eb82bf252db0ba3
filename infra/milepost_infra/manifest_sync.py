"""Registers apps at deployment: a custom resource asks each app for its manifest, validates and stores it.

An invalid manifest fails the deployment with a list of its problems, and CloudFormation rolls back to the previous
version and its registration. The Lambda answers CloudFormation itself, without the CDK's provider framework.
"""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import CustomResource, Duration
from aws_cdk import aws_lambda as lambda_
from constructs import Construct, IConstruct

from .compute import EngineCode, EngineLambda, grant_invoke
from .names import Handler
from .table import RunTable

__all__ = ["ManifestSync"]


class ManifestSync(Construct):
    """The registrar Lambda; `register` adds one app."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        shared: EngineCode,
        table: RunTable,
    ) -> None:
        super().__init__(scope, construct_id)
        self.engine = EngineLambda(
            self, "Lambda", shared=shared, handler=Handler.MANIFEST, timeout=Duration.minutes(2),
            purpose="Milepost registrar: asks apps for their manifests when they are deployed",
        )  # fmt: skip
        self._table = table
        table.grant_registry(self.engine.role)

    def register(
        self,
        scope: Construct,
        function: lambda_.IFunction,
        *,
        address: str,
        revision: str,
        timeout_seconds: float,
        reports: bool = False,
        after: Sequence[IConstruct] = (),
    ) -> CustomResource:
        """Register an app under the address that its runs call, and again whenever `revision` changes.

        `after`: what must be in place before.
        """
        grant = grant_invoke(self.engine.role, function)
        registration = CustomResource(
            scope,
            "Registration",
            service_token=self.engine.function.function_arn,
            resource_type="Custom::MilepostApp",
            service_timeout=Duration.minutes(5),
            properties={
                "Address": address,
                "Revision": revision,
                "TimeoutSeconds": f"{timeout_seconds:g}",
                **({"Reports": "true"} if reports else {}),
            },
        )
        # The first registration needs the permissions, and the log to explain a failure.
        grant.apply_before(registration)
        registration.node.add_dependency(self.engine, self._table, *after)
        return registration
