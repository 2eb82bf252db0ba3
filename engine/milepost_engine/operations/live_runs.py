"""Finds live runs whose calls go to certain Lambdas. There is no index of them: the lists of runs are read."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from milepost_engine.ports import Clock, Table
from milepost_engine.store.registry import Registry
from milepost_engine.store.run_items import address_of, is_live, list_of_runs

__all__ = ["LiveRuns", "NotCountedInTime", "PinnedRun"]

_PAGE: Final = 1000
_FUNCTIONS_AT_ONCE: Final = 8


class NotCountedInTime(Exception):
    """There are more runs than can be read before the deadline."""


@dataclass(frozen=True, slots=True)
class PinnedRun:
    """A run that was found."""

    run_id: str
    function_id: str


@dataclass(frozen=True, slots=True)
class LiveRuns:
    """See the module."""

    table: Table
    registry: Registry
    clock: Clock

    async def on(
        self, addresses: Collection[str], without: Collection[str], *, most: int, deadline: datetime
    ) -> list[PinnedRun]:
        """Live runs that are pinned to one of these Lambdas, or to a version of one; at most `most`, newest first.

        `without`: apps that do not count. Raises NotCountedInTime.
        """
        found: list[PinnedRun] = []
        slots = asyncio.Semaphore(_FUNCTIONS_AT_ONCE)

        async def search(function_id: str) -> None:
            async with slots:
                await self._search(function_id, addresses, without, found, most, deadline)

        await asyncio.gather(*map(search, await self.registry.known_functions(anew=True)))
        return sorted(found, key=lambda run: run.run_id, reverse=True)[:most]

    async def _search(
        self,
        function_id: str,
        addresses: Collection[str],
        without: Collection[str],
        found: list[PinnedRun],
        most: int,
        deadline: datetime,
    ) -> None:
        after: str | None = None
        while len(found) < most:
            if self.clock.now() >= deadline:
                raise NotCountedInTime(f"the runs of {function_id!r} could not all be read in time")
            page = await self.table.query(list_of_runs(function_id), limit=_PAGE, newest_first=True, after=after)
            found += [
                PinnedRun(str(item["sk"]), function_id)
                for item in page.items
                if is_live(item) and item["app_id"] not in without and _is_on(address_of(item), addresses)
            ]
            after = page.next
            if after is None:
                return


def _is_on(address: str, addresses: Collection[str]) -> bool:
    return any(address == each or address.startswith(f"{each}:") for each in addresses)
