"""Who knew what, and when: the witness of "no recorded step runs again".

A message reads a run by a query of its whole partition, or by a write of its own that nobody had made before it. An
invocation may run a step that another worker records after that last read: between a read and a body there is always
a moment. It may never run one that was recorded before.

    message   reads ───────── calls user code ── body of X          X recorded before the read: a broken promise
    another         records X                                       X recorded after it: at least once, as promised
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from milepost import Context
from milepost_engine.core.inputs import Call
from milepost_engine.core.run import Run
from milepost_engine.observe import Silent
from milepost_engine.ports import Condition, Item, Page

__all__ = ["LAST_READ", "LAST_READS", "Ledger", "Recorder", "Watch", "Witness"]

LAST_READS: ContextVar[dict[str, int]] = ContextVar("LAST_READS")
"""When the message being handled last read which run."""
LAST_READ: ContextVar[int] = ContextVar("LAST_READ", default=0)
"""The moment of the last read before the invocation under way; it travels with it to its thread."""


T = TypeVar("T")


@dataclass
class Ledger:
    """What was recorded when, by a count of everything that happens."""

    moment: int = 0
    recorded: dict[tuple[str, str], int] = field(default_factory=dict)
    bodies: list[tuple[str, str]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def next(self) -> int:
        self.moment += 1
        return self.moment

    def put(self, pk: str, sk: str, name: str) -> None:
        """An item was put."""
        if pk.startswith("R#") and sk.startswith("S#"):
            key = (pk[2:], name)
            if key in self.recorded:
                self.broken.append(f"{key} was recorded twice")
            self.recorded[key] = self.next()

    def body(self, ctx: Context, name: str, value: T | None = None) -> Callable[[], T]:
        """A step's body that notes in the ledger that it ran."""

        def run() -> Any:
            self.bodies.append((ctx.run_id, name))
            before = self.recorded.get((ctx.run_id, name))
            if before is not None and before < LAST_READ.get():
                self.broken.append(f"{name} of {ctx.run_id} ran after its result was recorded and seen")
            return value

        return run


class Witness:
    """A table as one worker uses it, faults and all: remembers when a message last read a run."""

    def __init__(self, table: Any, ledger: Ledger) -> None:
        self._table = table
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    async def put(self, item: Item, when: Condition | None = None) -> None:
        began = self._ledger.next()
        await self._table.put(item, when)
        self._note_read(str(item["pk"]), began)

    async def query(self, partition: str, **more: Any) -> Page:
        began = self._ledger.next()
        page: Page = await self._table.query(partition, **more)
        self._note_read(partition, began)
        return page

    def _note_read(self, partition: str, began: int) -> None:
        """What stood when the call began was seen; what came while it was on its way may not have been."""
        if partition.startswith("R#"):
            LAST_READS.get({})[partition[2:]] = began


class Watch(Silent):
    """Notes the last read at the moment from which an invocation is under way."""

    def invoked(self, run: Run, call: Call) -> None:
        LAST_READ.set(LAST_READS.get({}).get(run.run_id, 0))


class Recorder:
    """A table without faults; notes in the ledger what takes effect, whatever answer the worker gets."""

    def __init__(self, table: Any, ledger: Ledger) -> None:
        self._table = table
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    async def put(self, item: Item, when: Condition | None = None) -> None:
        await self._table.put(item, when)
        self._ledger.put(str(item["pk"]), str(item["sk"]), str(item.get("name", "")))
