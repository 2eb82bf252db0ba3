"""A port's adapter under test, with the clock that drives it and names that no other test uses."""

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from milepost_engine.adapters.clock import WoundClock
from milepost_engine.ports import Blobs, Item, Key, Queue, Table

__all__ = ["BlobsLab", "ImpatientClock", "Lab", "QueueLab", "key_of"]

_numbers = itertools.count()


@dataclass(frozen=True)
class Lab:
    """A table that may be shared by many tests: each takes partitions of its own by `name`."""

    kind: str
    table: Table
    clock: WoundClock

    def name(self, stem: str = "p") -> str:
        return f"{stem}-{next(_numbers)}"

    def item(self, **attributes: str | int | bool | bytes) -> Item:
        return {"pk": self.name(), "sk": "s", **attributes}

    def now(self) -> int:
        return int(self.clock.now().timestamp())


@dataclass(frozen=True)
class BlobsLab:
    """A blob store, perhaps shared."""

    blobs: Blobs

    def name(self, stem: str = "run") -> str:
        return f"{stem}-{next(_numbers)}"


@dataclass(frozen=True)
class QueueLab:
    """An empty queue and a way to receive from it: so many bodies, or those that come within two seconds."""

    queue: Queue
    receive: Callable[[int], Awaitable[list[str]]]


class ImpatientClock(WoundClock):
    """Sleeps no time at all and remembers how long it should have been."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


def key_of(item: Item) -> Key:
    return Key(str(item["pk"]), str(item["sk"]))
