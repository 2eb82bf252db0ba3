"""What a worker's engine sees of the explored world: the Table, Blobs, Queue and RandomSource ports.

Each call of the table and the queue is handed to `halt`, which lets the scheduler choose when it takes effect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from milepost_engine.ports import Changes, Condition, Delete, Item, Key, Message, Page, Put, Update, Write

from .table import Place, key_of
from .words import Words

__all__ = ["Call", "NoBlobs", "Ports", "Randomness", "StandingClock", "World"]


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A call of a port. A sort key of None stands for a whole partition; `label` says in words what is called.

    `ends_body`: it is no call, but the end of a body. `torn` reads so many items of a query now, and returns what reads
    the others and puts them together.
    """

    label: Callable[[], str]
    effect: Callable[[], Any]
    reads: tuple[tuple[str, str | None], ...] = ()
    writes: tuple[Place, ...] = ()
    sends: bool = False
    ends_body: bool = False
    torn: Callable[[int], Callable[[], Page]] | None = None


class World(Protocol):
    """What the ports need of the explored world."""

    words: Words
    records_of: str

    async def halt(self, call: Call) -> Any: ...

    def get(self, key: Key) -> Item | None: ...

    def query(
        self, partition: str, first: str | None, last: str | None, limit: int | None, *, newest_first: bool
    ) -> Page: ...

    def write(self, write: Write) -> Item: ...

    def transact(self, writes: Sequence[Write]) -> None: ...

    def enqueue(self, body: str, delay_seconds: float) -> None: ...


class Ports:
    """Implements Table and Queue. A query sees all items at one moment, unless it is torn on purpose."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def get(self, key: Key) -> Item | None:
        world = self._world
        call = Call(lambda: f"get {world.words.item(key)}", lambda: world.get(key), reads=((key.pk, key.sk),))
        found: Item | None = await world.halt(call)
        return found

    async def get_many(self, keys: Sequence[Key]) -> list[Item | None]:
        world = self._world
        call = Call(
            lambda: "get " + " and ".join(map(world.words.item, keys)),
            lambda: [world.get(key) for key in keys],
            reads=tuple((key.pk, key.sk) for key in keys),
        )
        found: list[Item | None] = await world.halt(call)
        return found

    async def put(self, item: Item, when: Condition | None = None) -> None:
        await self._write(Put(item, when), lambda key: f"put {self._world.words.item(key)}")

    async def update(self, key: Key, changes: Changes, when: Condition | None = None) -> Item:
        words = self._world.words

        def label(key: Key) -> str:
            changed = ", ".join(f"{name} = {words.value(value)}" for name, value in changes.set.items())
            return f"update {words.item(key)} ({changed}) if {words.condition(when)}"

        return await self._write(Update(key, changes, when), label)

    async def delete(self, key: Key, when: Condition | None = None) -> None:
        await self._write(Delete(key, when), lambda key: f"delete {self._world.words.item(key)}")

    async def _write(self, write: Write, label: Callable[[Key], str]) -> Item:
        world, key = self._world, key_of(write)
        call = Call(lambda: label(key), lambda: world.write(write), writes=((key.pk, key.sk),))
        item: Item = await world.halt(call)
        return item

    async def query(
        self,
        partition: str,
        *,
        first: str | None = None,
        last: str | None = None,
        limit: int | None = None,
        newest_first: bool = False,
        after: str | None = None,
    ) -> Page:
        assert after is None, "no story has more items than a page holds"
        world = self._world

        def read() -> Page:
            return world.query(partition, first, last, limit, newest_first=newest_first)

        def torn(count: int) -> Callable[[], Page]:
            begun = read().items[:count]
            mark = str(begun[-1]["sk"])
            return lambda: Page([*begun, *(item for item in read().items if str(item["sk"]) > mark)])

        call = Call(
            lambda: f"query {world.words.item(Key(partition, ''))}",
            read,
            reads=((partition, None),),
            torn=torn if partition == world.records_of else None,
        )
        page: Page = await world.halt(call)
        return page

    async def transact(self, writes: Sequence[Write]) -> None:
        world = self._world
        keys = [key_of(write) for write in writes]
        call = Call(
            lambda: "transact " + " and ".join(map(world.words.item, keys)),
            lambda: world.transact(writes),
            writes=tuple((key.pk, key.sk) for key in keys),
        )
        await world.halt(call)

    async def send(self, messages: Sequence[Message]) -> None:
        world = self._world

        def send_all() -> None:
            for message in messages:
                world.enqueue(message.body, message.delay_seconds)

        await world.halt(
            Call(lambda: "send " + ", ".join(world.words.message(m.body) for m in messages), send_all, sends=True)
        )


class NoBlobs:
    """Implements Blobs for stories without large values."""

    async def put(self, key: str, content: bytes) -> None:
        raise NotImplementedError

    async def get(self, key: str) -> bytes | None:
        return None

    async def delete_prefix(self, prefix: str) -> int:
        return 0


class Randomness:
    """Implements RandomSource: what a delivery draws follows from the message and the number of draws before.

    So it does not depend on the order in which threads draw, and two deliveries never draw the same.
    """

    def __init__(self, who: Callable[[], tuple[str, int]]) -> None:
        self._who = who

    def random_bytes(self, count: int) -> bytes:
        name, draws = self._who()
        return hashlib.sha256(f"{name} {draws}".encode()).digest()[:count]

    def uniform(self) -> float:
        return 0.5


@dataclass
class StandingClock:
    """Implements Clock: time moves only when a message that is due later is delivered."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError
