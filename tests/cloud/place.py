"""Where a whole engine keeps its things in AWS's way: the production adapters over moto or DynamoDB Local."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from botocore.credentials import Credentials

from milepost_engine.adapters.aws.calls import AwsRetries, Caller
from milepost_engine.adapters.aws.client import AwsHttp, AwsTransport
from milepost_engine.adapters.aws.dynamodb import DynamoTable
from milepost_engine.adapters.aws.dynamodb_schema import table_definition
from milepost_engine.adapters.aws.s3 import S3Blobs
from milepost_engine.adapters.aws.sqs import SqsQueue
from milepost_engine.adapters.clock import SystemClock
from milepost_engine.adapters.random_source import SeededRandom
from milepost_engine.ports import Clock

from .inline_s3 import InlineS3
from .moto_transport import MotoTransport
from .wound_queue import WoundQueue

__all__ = ["CloudPlace", "cloud_place", "open_table"]

REGION: Final = "us-east-1"
_numbers = itertools.count()


@dataclass
class CloudPlace:
    """`sender` is the Queue port; `queue` is the side of the one who consumes it."""

    table: DynamoTable
    blobs: S3Blobs
    sender: SqsQueue
    queue: WoundQueue
    callers: Mapping[str, Caller]
    name: str


def fresh_name() -> str:
    return f"milepost-{next(_numbers)}"


CREDENTIALS: Final = Credentials("test", "test")


def aws_http(transport: AwsTransport | None = None, endpoint: str | None = None) -> AwsHttp:
    """The production caller; its pauses are on the system's clock, and short."""
    return AwsHttp(
        CREDENTIALS,
        REGION,
        retries=AwsRetries(SystemClock(), SeededRandom(1), attempts=8, longest_seconds=0.02, first_seconds=0.001),
        environment={"AWS_ENDPOINT_URL": endpoint} if endpoint else {},
        transport=transport,
    )


async def open_table(caller: Caller, name: str) -> None:
    """Make the table; moto and DynamoDB Local have it ready at once."""
    await caller.call("CreateTable", table_definition(name), repeatable=False)


@asynccontextmanager
async def cloud_place(clock: Clock, *, dynamodb_endpoint: str | None = None) -> AsyncIterator[CloudPlace]:
    """Everything on moto; the table on DynamoDB Local when its endpoint is given. All of it is new and empty."""
    name = fresh_name()
    transport = MotoTransport()
    http = aws_http(transport)
    table_http = aws_http(endpoint=dynamodb_endpoint) if dynamodb_endpoint else http
    callers: dict[str, Caller] = {"dynamodb": table_http.service("dynamodb"), "sqs": http.service("sqs")}
    s3 = InlineS3(name)
    await open_table(callers["dynamodb"], name)
    made: dict[str, Any] = await callers["sqs"].call("CreateQueue", {"QueueName": name}, repeatable=False)
    queue = WoundQueue(clock)
    transport.sent = lambda _url, entry: queue.take(entry["MessageBody"], entry.get("DelaySeconds", 0))
    try:
        table = DynamoTable(callers["dynamodb"], name, clock)
        sender = SqsQueue(callers["sqs"], made["QueueUrl"])
        yield CloudPlace(table, S3Blobs(s3, name), sender, queue, callers, name)
    finally:
        await callers["dynamodb"].call("DeleteTable", {"TableName": name}, repeatable=False)
        await callers["sqs"].call("DeleteQueue", {"QueueUrl": made["QueueUrl"]}, repeatable=False)
        s3.close()
        await table_http.close()
