"""The explored table: conditional writes over a dictionary, and a fingerprint of its content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from milepost_engine.adapters.local.conditions import holds
from milepost_engine.ports import (
    Condition,
    ConditionFailed,
    Delete,
    Item,
    Key,
    Page,
    Put,
    TransactionFailed,
    Update,
    Write,
)

__all__ = ["Items", "Place", "key_of"]

Place = tuple[str, str]
"""Partition and sort key."""

_MASK: Final = (1 << 64) - 1


class Items:
    """The items by place. An item is replaced, never changed, so copies of the table share their items.

    `heeds`: whether conditions are checked.
    """

    def __init__(self, *, heeds: bool = True) -> None:
        self.heeds = heeds
        self.items: dict[Place, Item] = {}
        self.fingerprint = 0
        self.writes = 0
        self._prints: dict[Place, int] = {}

    def copy(self, *, heeds: bool) -> Items:
        """A table of the same content."""
        made = Items(heeds=heeds)
        made.writes = self.writes
        made.items, made._prints, made.fingerprint = self.items.copy(), self._prints.copy(), self.fingerprint
        return made

    def get(self, key: Key) -> Item | None:
        found = self.items.get((key.pk, key.sk))
        return dict(found) if found is not None else None

    def query(
        self, partition: str, first: str | None, last: str | None, limit: int | None, *, newest_first: bool
    ) -> Page:
        keys = sorted(sk for pk, sk in self.items if pk == partition)
        keys = [sk for sk in keys if (first is None or sk >= first) and (last is None or sk <= last)]
        if newest_first:
            keys.reverse()
        return Page([dict(self.items[partition, sk]) for sk in keys[:limit]])

    def write(self, write: Write) -> Item:
        """Write one item. Raises ConditionFailed."""
        key = key_of(write)
        self._check(key, write.when)
        self.writes += 1
        item = self._result(write, self.items.get((key.pk, key.sk)))
        self._replace((key.pk, key.sk), item)
        return dict(item or {})

    def transact(self, writes: Sequence[Write]) -> None:
        """Write all items or none. Raises TransactionFailed."""
        failed = tuple(place for place, write in enumerate(writes) if not self._permits(write))
        if failed:
            raise TransactionFailed(failed)
        for write in writes:
            self.write(write)

    def _permits(self, write: Write) -> bool:
        key = key_of(write)
        return self._holds(write.when, self.items.get((key.pk, key.sk)))

    def _check(self, key: Key, when: Condition | None) -> None:
        existing = self.items.get((key.pk, key.sk))
        if not self._holds(when, existing):
            raise ConditionFailed(key, dict(existing) if existing is not None else None)

    def _holds(self, when: Condition | None, existing: Item | None) -> bool:
        return when is None or not self.heeds or holds(when, existing)

    def _result(self, write: Write, existing: Item | None) -> Item | None:
        match write:
            case Delete():
                return None
            case Put():
                return dict(write.item)
            case Update():
                item = {"pk": write.key.pk, "sk": write.key.sk, **(existing or {}), **write.changes.set}
                for name in write.changes.remove:
                    item.pop(name, None)
                for name, amount in write.changes.add.items():
                    item[name] = int(item.get(name, 0)) + amount
                return item

    def _replace(self, place: Place, item: Item | None) -> None:
        self.fingerprint = (self.fingerprint - self._prints.pop(place, 0)) & _MASK
        if item is None:
            self.items.pop(place, None)
            return
        self.items[place] = item
        made = self._prints[place] = hash((place, _print_of(item)))
        self.fingerprint = (self.fingerprint + made) & _MASK

    def count(self, pk: str) -> int:
        """How many items a partition has."""
        return sum(each == pk for each, _ in self.items)

    def partition(self, pk: str) -> Iterable[tuple[str, Item]]:
        """The items of a partition, by sort key."""
        return sorted((sk, item) for (each, sk), item in self.items.items() if each == pk)


def key_of(write: Write) -> Key:
    """Where a write goes."""
    return Key(str(write.item["pk"]), str(write.item["sk"])) if isinstance(write, Put) else write.key


def _print_of(item: Mapping[str, object]) -> int:
    return hash(frozenset(item.items()))
