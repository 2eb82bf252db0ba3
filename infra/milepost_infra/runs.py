"""Runs: starts, shows and cancels runs for callers that IAM allows to invoke its Lambda."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_iam as iam
from constructs import Construct

from .blobs import BlobBucket
from .compute import EngineCode, EngineLambda
from .names import Handler
from .queues import QueuePair
from .table import RunTable

__all__ = ["Runs"]


class Runs(Construct):
    """The Lambda behind `Function.start`. Nobody may invoke it until `Milepost.grant_start` allows it."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        shared: EngineCode,
        table: RunTable,
        blobs: BlobBucket,
        work: QueuePair,
    ) -> None:
        super().__init__(scope, construct_id)
        self.engine = EngineLambda(
            self, "Lambda", shared=shared, handler=Handler.RUNS, timeout=Duration.seconds(29),
            purpose="Milepost runs: starts, shows and cancels runs for permitted callers",
        )  # fmt: skip
        table.grant_use(self.engine.role)
        blobs.grant_use(self.engine.role)
        work.queue.grant_send_messages(self.engine.role)

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow a grantee to invoke the Lambda, and nothing else."""
        # Not function.grant_invoke, which includes all versions: there is only one.
        return iam.Grant.add_to_principal(
            grantee=grantee, actions=["lambda:InvokeFunction"], resource_arns=[self.engine.function.function_arn]
        )
