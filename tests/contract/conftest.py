"""The adapters that the contract suites run over."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.credentials import Credentials
from moto import mock_aws

from milepost_engine.adapters.aws.boto import BotoCaller, boto_config
from milepost_engine.adapters.aws.calls import AwsRetries, Caller
from milepost_engine.adapters.aws.client import AwsHttp
from milepost_engine.adapters.aws.dynamodb import DynamoTable
from milepost_engine.adapters.aws.dynamodb_schema import create_table
from milepost_engine.adapters.aws.s3 import S3Blobs
from milepost_engine.adapters.aws.sqs import SqsQueue
from milepost_engine.adapters.clock import SystemClock, WoundClock
from milepost_engine.adapters.local.queue import LocalQueue, Received
from milepost_engine.adapters.local.sqlite import SqliteStore
from milepost_engine.adapters.random_source import SystemRandom

from .dynamodb_local import running_dynamodb_local
from .labs import BlobsLab, Lab, QueueLab

ATOMIC = ["sqlite_memory", "sqlite_file", pytest.param("dynamodb_local", marks=pytest.mark.dynamodb_local)]
ALL = [*ATOMIC, "moto"]
TABLE_NAME = "milepost"
CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}


@pytest.fixture
def clock() -> WoundClock:
    return WoundClock()


@pytest.fixture
def store(tmp_path: Path, clock: WoundClock) -> Iterator[SqliteStore]:
    """A store in a file."""
    store = SqliteStore.open(tmp_path / "milepost.db", clock=clock)
    yield store
    store.close()


@pytest.fixture(scope="session")
def dynamodb_endpoint() -> Iterator[str]:
    """DynamoDB Local with the table in it."""
    with running_dynamodb_local() as endpoint:
        client = boto3.client("dynamodb", endpoint_url=endpoint, **CREDENTIALS)
        create_table(client, TABLE_NAME)
        client.close()
        yield endpoint


@pytest.fixture
async def dynamodb_caller(dynamodb_endpoint: str) -> AsyncIterator[Caller]:
    """DynamoDB Local by the way that production takes."""
    http = AwsHttp(
        Credentials("test", "test"),
        "us-east-1",
        retries=AwsRetries(SystemClock(), SystemRandom(), attempts=10),
        environment={"AWS_ENDPOINT_URL": dynamodb_endpoint},
        max_connections=16,
    )
    yield http.service("dynamodb")
    await http.close()


@pytest.fixture(scope="module")
def moto_clients() -> Iterator[Any]:
    """Makes clients of moto's AWS, which ends with the module: it patches botocore for everybody."""
    with mock_aws():
        yield lambda service: boto3.client(service, config=boto_config(), **CREDENTIALS)


@pytest.fixture(scope="module")
def moto_table_caller(moto_clients: Any) -> Iterator[BotoCaller]:
    client = moto_clients("dynamodb")
    create_table(client, TABLE_NAME)
    caller = BotoCaller(client, threads=1)  # moto's table is not atomic across threads
    yield caller
    caller.close()


@pytest.fixture
def memory_store(clock: WoundClock) -> Iterator[SqliteStore]:
    store = SqliteStore.open(":memory:", clock=clock)
    yield store
    store.close()


def _lab(kind: str, request: pytest.FixtureRequest, clock: WoundClock) -> Lab:
    match kind:
        case "sqlite_memory":
            table = request.getfixturevalue("memory_store").table
        case "sqlite_file":
            table = request.getfixturevalue("store").table
        case "dynamodb_local":
            table = DynamoTable(request.getfixturevalue("dynamodb_caller"), TABLE_NAME, clock)
        case _:
            table = DynamoTable(request.getfixturevalue("moto_table_caller"), TABLE_NAME, clock)
    return Lab(kind, table, clock)


@pytest.fixture(params=ALL)
def lab(request: pytest.FixtureRequest, clock: WoundClock) -> Lab:
    """Every table there is."""
    return _lab(request.param, request, clock)


@pytest.fixture(params=ATOMIC)
def strict_lab(request: pytest.FixtureRequest, clock: WoundClock) -> Lab:
    """Every table but moto's, which neither checks sizes and types nor is atomic across threads."""
    return _lab(request.param, request, clock)


@pytest.fixture(scope="module")
def moto_bucket(moto_clients: Any) -> Iterator[BotoCaller]:
    client = moto_clients("s3")
    client.create_bucket(Bucket="blobs")
    caller = BotoCaller(client, threads=1)
    yield caller
    caller.close()


@pytest.fixture(params=["sqlite", "s3", "s3_prefix"])
def blobs_lab(request: pytest.FixtureRequest) -> BlobsLab:
    """Every blob store there is."""
    if request.param == "sqlite":
        return BlobsLab(request.getfixturevalue("store").blobs)
    prefix = "large/values/" if request.param == "s3_prefix" else ""
    return BlobsLab(S3Blobs(request.getfixturevalue("moto_bucket"), "blobs", prefix))


@pytest.fixture(params=["local", "sqs"])
def queue_lab(request: pytest.FixtureRequest, clock: WoundClock) -> Iterator[QueueLab]:
    """Every queue there is."""
    if request.param == "local":
        yield _local_queue_lab(LocalQueue(request.getfixturevalue("store"), clock, "work"))
        return
    client = request.getfixturevalue("moto_clients")("sqs")
    url = client.create_queue(QueueName="work")["QueueUrl"]
    caller = BotoCaller(client, threads=1)
    yield _sqs_lab(SqsQueue(caller, url), client, url)
    caller.close()
    client.delete_queue(QueueUrl=url)


def _local_queue_lab(queue: LocalQueue) -> QueueLab:
    async def receive(_: int) -> list[str]:
        bodies: list[str] = []

        async def keep(received: Received) -> None:
            bodies.append(received.body)

        await queue.drain(keep)
        return bodies

    return QueueLab(queue, receive)


def _sqs_lab(queue: SqsQueue, client: Any, url: str) -> QueueLab:
    async def receive(expected: int) -> list[str]:
        bodies: list[str] = []
        while len(bodies) < expected:
            answer = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2)
            received = answer.get("Messages", [])
            if not received:
                break
            for message in received:
                bodies.append(message["Body"])
                client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    return QueueLab(queue, receive)
