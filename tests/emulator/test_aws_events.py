"""Events of AWS services on the account's default bus start functions, through the rule that `Milepost.feed` makes."""

from __future__ import annotations

import pytest

from .cloud import Cloud

pytestmark = pytest.mark.emulator


def test_an_object_put_into_a_bucket_starts_the_function_that_names_source_and_detail_type(cloud: Cloud):
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="uploads")
    s3.put_bucket_notification_configuration(
        Bucket="uploads", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    s3.put_object(Bucket="uploads", Key="invoice-7.pdf", Body=b"%PDF")
    run = cloud.ended("trials-scan", "invoice-7.pdf")
    assert (run["status"], run["output"]) == ("Completed", "invoice-7.pdf")
    assert run["event"]["name"] == "aws.s3/Object Created"
    assert run["event"]["data"]["bucket"] == {"name": "uploads"}
