"""Reads several partitions as one list, newest first, a page of each at a time."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from milepost_engine.ports import Item, Table

__all__ = ["Source", "newest_first"]


@dataclass(frozen=True, slots=True)
class Source:
    """Part of a partition. `key` gives an item's place in the merged list, in the same order as the sort keys."""

    partition: str
    key: Callable[[Item], str]
    first: str | None = None
    last: str | None = None


async def newest_first(table: Table, sources: Sequence[Source], *, page: int) -> AsyncIterator[tuple[str, Item]]:
    """The items of all sources with their keys, largest key first; `page` items of a source are read at a time."""
    heap: list[_Head] = []
    for source in sources:
        await _read_page(table, heap, source, None, page)
    while heap:
        head = heapq.heappop(heap)
        item = head.items.pop()
        yield head.key, item
        if head.items:
            heapq.heappush(heap, _Head(head.source.key(head.items[-1]), head.source, head.items, head.next))
        elif head.next is not None:
            await _read_page(table, heap, head.source, head.next, page)


@dataclass(frozen=True, slots=True)
class _Head:
    """A source as read so far: the rest of its page, newest last, and where the next page begins."""

    key: str
    source: Source
    items: list[Item]
    next: str | None

    def __lt__(self, other: _Head) -> bool:
        return self.key > other.key


async def _read_page(table: Table, heap: list[_Head], source: Source, after: str | None, page: int) -> None:
    read = await table.query(
        source.partition, first=source.first, last=source.last, limit=page, newest_first=True, after=after
    )
    if read.items:
        heapq.heappush(heap, _Head(source.key(read.items[0]), source, read.items[::-1], read.next))
