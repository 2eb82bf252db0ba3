"""How far the ticks have come: one item for each kind of work."""

from __future__ import annotations

from dataclasses import dataclass

from milepost_engine.ports import Absent, Changes, ConditionFailed, Key, Table

__all__ = ["CLOCK", "Cursors"]

CLOCK = "CLOCK"
"""The partition of everything that a tick remembers."""


@dataclass(frozen=True, slots=True)
class Cursors:
    """See the module."""

    table: Table

    async def read(self, name: str, start: int) -> int:
        """How far it has come; `start` if it has never begun."""
        item = await self.table.get(Key(CLOCK, name))
        if item is not None:
            return int(item["at"])
        try:
            await self.table.put({"pk": CLOCK, "sk": name, "at": start}, Absent())
        except ConditionFailed as standing:
            return int(standing.existing["at"]) if standing.existing else start
        return start

    async def advance(self, name: str, at: int) -> None:
        """Say how far it has come."""
        await self.table.update(Key(CLOCK, name), Changes(set={"at": at}))
