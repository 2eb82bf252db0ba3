"""What AWS hands to a Lambda, in the shapes that it has there."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Context", "envelope", "failure_record", "s3_object_created", "sqs_record"]

_numbers = itertools.count()


@dataclass
class Context:
    """The second argument of a Lambda's handler."""

    remaining_ms: int = 90_000
    function_name: str = "milepost-orchestrator"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:milepost-orchestrator"
    aws_request_id: str = "8f507cfc-xmpl-4697-b07a-ac58fc914c95"

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


def sqs_record(body: str, arn: str, *, receives: int = 1, handle: str = "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a") -> Any:
    """One record of an SQS event, as the event source mapping makes it."""
    return {
        "messageId": f"059f36b4-87a3-44ab-83d2-{next(_numbers):012d}",
        "receiptHandle": handle,
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": str(receives),
            "SentTimestamp": "1545082649183",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1545082649185",
        },
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": "us-east-1",
    }


def envelope(kind: str, detail: object, *, source: str = "shop.checkout", **more: object) -> dict[str, Any]:
    """What a rule of EventBridge hands to its target."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": kind,
        "source": source,
        "account": "123456789012",
        "time": "2026-03-02T09:00:00Z",
        "region": "us-east-1",
        "resources": [],
        "detail": detail,
        **more,
    }


def s3_object_created() -> Mapping[str, Any]:
    """From "Event message structure" in the Amazon S3 user guide."""
    return json.loads("""
    {"version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": "Object Created",
     "source": "aws.s3", "account": "111122223333", "time": "2021-11-12T00:00:00Z", "region": "ca-central-1",
     "resources": ["arn:aws:s3:::amzn-s3-demo-bucket1"],
     "detail": {"version": "0", "bucket": {"name": "amzn-s3-demo-bucket1"},
                "object": {"key": "example-key", "size": 5, "etag": "b1946ac92492d2347c6235b4d2611184",
                           "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e", "sequencer": "617f08299329d189"},
                "request-id": "N4N7GDK58NMKJ12R", "requester": "123456789012",
                "source-ip-address": "1.2.3.4", "reason": "PutObject"}}""")


def failure_record(payload: object, condition: str, error: Mapping[str, str] | None = None) -> dict[str, Any]:
    """From "Capturing records of Lambda asynchronous invocations" in the Lambda developer guide."""
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": "2019-11-14T18:16:05.568Z",
        "requestContext": {
            "requestId": "e4b46cbf-b738-xmpl-8880-a18cdf61200e",
            "functionArn": "arn:aws:lambda:us-east-2:123456789012:function:my-function:$LATEST",
            "condition": condition,
            "approximateInvokeCount": 1,
        },
        "requestPayload": payload,
    }
    if error is not None:
        record["responseContext"] = {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
        record["responsePayload"] = dict(error)
    return record
