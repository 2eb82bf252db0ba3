"""The adapters that the contract suites run over."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from milepost_engine.adapters.clock import WoundClock
from milepost_engine.adapters.local_queue import LocalQueue, Received
from milepost_engine.adapters.sqlite import SqliteStore

from .labs import BlobsLab, Lab, QueueLab

ATOMIC = ["sqlite_memory", "sqlite_file"]
ALL = ATOMIC


@pytest.fixture
def clock() -> WoundClock:
    return WoundClock()


@pytest.fixture
def store(tmp_path: Path, clock: WoundClock) -> Iterator[SqliteStore]:
    """A store in a file."""
    store = SqliteStore.open(tmp_path / "milepost.db", clock=clock)
    yield store
    store.close()


async def _lab(kind: str, request: pytest.FixtureRequest, clock: WoundClock) -> AsyncIterator[Lab]:
    if kind == "sqlite_memory":
        memory = SqliteStore.open(":memory:", clock=clock)
        yield Lab(kind, memory.table, clock)
        memory.close()
    elif kind == "sqlite_file":
        yield Lab(kind, request.getfixturevalue("store").table, clock)


@pytest.fixture(params=ALL)
async def lab(request: pytest.FixtureRequest, clock: WoundClock) -> AsyncIterator[Lab]:
    """Every table there is."""
    async for lab in _lab(request.param, request, clock):
        yield lab


@pytest.fixture(params=ATOMIC)
async def strict_lab(request: pytest.FixtureRequest, clock: WoundClock) -> AsyncIterator[Lab]:
    """Every table but moto's, which neither checks sizes and types nor is atomic across threads."""
    async for lab in _lab(request.param, request, clock):
        yield lab


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
