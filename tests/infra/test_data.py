"""The table and the bucket: kept, encrypted, on demand, and shaped as the engine reads them."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy

from milepost_engine.adapters.aws import dynamodb_schema

from .rig import make, resources, synthesised


def test_the_table_has_the_schema_that_the_engine_uses(plain):
    (table,) = plain.all("AWS::DynamoDB::GlobalTable").values()
    wanted = dynamodb_schema.table_definition("any")
    for name in ("BillingMode", "KeySchema"):
        assert table[name] == wanted[name]
    assert "GlobalSecondaryIndexes" not in table, "each index would be paid for with every write of a run"
    assert sorted(table["AttributeDefinitions"], key=str) == sorted(wanted["AttributeDefinitions"], key=str)
    assert table["TimeToLiveSpecification"] == {"AttributeName": dynamodb_schema.TTL_ATTRIBUTE, "Enabled": True}


def test_the_table_can_be_put_back_to_any_point_in_time(plain):
    (table,) = plain.all("AWS::DynamoDB::GlobalTable").values()
    assert all(r["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] for r in table["Replicas"])
    assert "StreamSpecification" not in table


def test_table_and_bucket_are_kept_when_the_stack_goes(plain):
    for kind in ("AWS::DynamoDB::GlobalTable", "AWS::S3::Bucket"):
        (made,) = resources(plain.template, kind).values()
        assert (made["DeletionPolicy"], made["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_table_and_bucket_go_with_the_stack_if_asked_to(tmp_path):
    gone = synthesised(lambda app: make(tmp_path, app=app, removal_policy=RemovalPolicy.DESTROY))
    for kind in ("AWS::DynamoDB::GlobalTable", "AWS::S3::Bucket"):
        (made,) = resources(gone.template, kind).values()
        assert made["DeletionPolicy"] == "Delete"


def test_the_bucket_is_private_and_encrypted(plain):
    (bucket,) = plain.all("AWS::S3::Bucket").values()
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["BucketEncryption"]
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]


def test_an_object_outlives_the_longest_wait_of_a_run_and_its_retention(tmp_path):
    made = synthesised(lambda app: make(tmp_path, app=app, retention=Duration.days(90)))
    (bucket,) = made.all("AWS::S3::Bucket").values()
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert rule["ExpirationInDays"] == 366 + 90
