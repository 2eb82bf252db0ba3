"""The bucket for values too large for the table: private, encrypted, TLS only, kept when the stack is deleted."""

from __future__ import annotations

from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from .acknowledged import acknowledge, wildcard
from .names import LONGEST_OPEN_DAYS

__all__ = ["BlobBucket"]

_NO_ACCESS_LOG: Final = (
    "AwsSolutions-S1",
    "Only Milepost's own Lambdas reach this bucket, through IAM; CloudTrail data events say more than access logs.",
)
_ANY_OBJECT: Final = "Large values are objects in Milepost's own bucket; their keys are not known at deployment."


class BlobBucket(Construct):
    """Values by key. Objects expire after the longest possible wait of a run that may still read them."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        retention: Duration,
        removal_policy: RemovalPolicy,
    ) -> None:
        super().__init__(scope, construct_id)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=removal_policy,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="expire",
                    expiration=Duration.days(LONGEST_OPEN_DAYS + int(retention.to_days())),
                    abort_incomplete_multipart_upload_after=Duration.days(1),
                )
            ],
        )
        acknowledge(self.bucket, _NO_ACCESS_LOG)

    def grant_use(self, role: iam.Role) -> None:
        """Allow reading and writing objects. Without ListBucket, S3 answers 403 instead of 404 for a missing object."""
        objects = self.bucket.arn_for_objects("*")
        self._grant(role, ["s3:GetObject", "s3:PutObject"], objects)
        self._grant(role, ["s3:ListBucket"], self.bucket.bucket_arn)
        wildcard(role, objects, _ANY_OBJECT)

    def grant_steps(self, role: iam.Role) -> None:
        """Allow an app to read large steps and events of runs, and to save large steps."""
        for folder, actions in {"runs": ["s3:GetObject", "s3:PutObject"], "events": ["s3:GetObject"]}.items():
            objects = self.bucket.arn_for_objects(f"{folder}/*")
            self._grant(role, actions, objects)
            wildcard(role, objects, _ANY_OBJECT)

    @staticmethod
    def _grant(grantee: iam.IGrantable, actions: list[str], resource: str) -> None:
        iam.Grant.add_to_principal(grantee=grantee, actions=actions, resource_arns=[resource]).assert_success()
