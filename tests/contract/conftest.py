"""The adapters that the contract suites run over."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from milepost_engine.adapters.aws_boto import BotoCaller, boto_config
from milepost_engine.adapters.clock import WoundClock
from milepost_engine.adapters.dynamodb import DynamoTable
from milepost_engine.adapters.dynamodb_schema import create_table
from milepost_engine.adapters.local_queue import LocalQueue, Received
from milepost_engine.adapters.sqlite import SqliteStore

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


@pytest.fixture(scope="session")
def dynamodb_caller(dynamodb_endpoint: str) -> Iterator[BotoCaller]:
    client = boto3.client("dynamodb", endpoint_url=dynamodb_endpoint, config=boto_config(), **CREDENTIALS)
    caller = BotoCaller(client)
    yield caller
    caller.close()
    client.close()


@pytest.fixture(scope="session")
def moto_clients() -> Iterator[Any]:
    """Makes clients of moto's AWS."""
    with mock_aws():
        yield lambda service: boto3.client(service, config=boto_config(), **CREDENTIALS)


@pytest.fixture(scope="session")
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


@pytest.fixture(params=["sqlite"])
def blobs_lab(request: pytest.FixtureRequest) -> BlobsLab:
    """Every blob store there is."""
    return BlobsLab(request.getfixturevalue("store").blobs)


@pytest.fixture(params=["local"])
def queue_lab(request: pytest.FixtureRequest, clock: WoundClock) -> QueueLab:
    """Every queue there is."""
    return _local_queue_lab(LocalQueue(request.getfixturevalue("store"), clock, "work"))


def _local_queue_lab(queue: LocalQueue) -> QueueLab:
    async def receive(_: int) -> list[str]:
        bodies: list[str] = []

        async def keep(received: Received) -> None:
            bodies.append(received.body)

        await queue.drain(keep)
        return bodies

    return QueueLab(queue, receive)
