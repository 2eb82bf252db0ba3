"""A whole engine in one process: SQLite, the local queue, invokers, and the minute's tick.

The data file survives the process: after a kill at any moment, every run resumes at the next start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from milepost_engine.adapters.clock import SystemClock
from milepost_engine.adapters.invoke_http import HttpInvoker
from milepost_engine.adapters.local.queue import LocalQueue, Received
from milepost_engine.adapters.local.sqlite import SqliteStore
from milepost_engine.adapters.local.sqlite_file import Durability
from milepost_engine.adapters.random_source import SystemRandom
from milepost_engine.engine import Engine, EngineSettings
from milepost_engine.observe import Observer
from milepost_engine.timers.timers import TICK

from .slots import FairSlots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from milepost_engine.ports import Clock, Invoker, Slots

__all__ = ["LocalEngine", "default_file", "open_local"]

MESSAGES_AT_ONCE: Final = 5000
"""Messages that are handled at the same time; most of them wait for a slot in which user code can run."""
QUEUE: Final = "work"
_SWEPT_AT_ONCE: Final = 1000
_BETWEEN_SWEEPS: Final = 0.05
_UNLIMITED: Final = float("inf")
_log = logging.getLogger("milepost.dev")


def default_file(environment: Mapping[str, str], home: Path) -> Path:
    """The default data file: `dev.db` in the user's state folder (XDG base directories)."""
    state = environment.get("XDG_STATE_HOME", "")
    # The XDG specification says that relative paths are invalid and must be ignored.
    base = Path(state) if Path(state).is_absolute() else home / ".local" / "state"
    return base / "milepost" / "dev.db"


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """See the module."""

    store: SqliteStore
    queue: LocalQueue
    engine: Engine
    invokers: Mapping[str, Invoker]
    """By kind of target."""
    http: HttpInvoker
    clock: Clock

    async def work(self) -> None:
        """Process messages and tick until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.queue.run(self._handle, concurrency=MESSAGES_AT_ONCE))
            tasks.create_task(self._tick())

    async def _handle(self, received: Received) -> None:
        await self.engine.handle(received.body, redelivered=received.receive_count > 1)

    async def _tick(self) -> None:
        while True:
            try:
                await self.engine.timers.tick()
                await self._retain()
            except Exception:  # noqa: BLE001 - the clock must not stop
                _log.exception("the minute's tick failed; the next one catches up")
            await self.clock.sleep(TICK.total_seconds())

    async def _retain(self) -> None:
        """Remove what has expired, however much it is: a part at a time, so that other work gets its turn."""
        while await self.store.table.sweep_expired(_SWEPT_AT_ONCE) >= _SWEPT_AT_ONCE:
            await self.clock.sleep(_BETWEEN_SWEEPS)


@asynccontextmanager
async def open_local(
    path: Path | str,
    observer: Observer,
    own: Mapping[str, Invoker] | None = None,
    *,
    settings: EngineSettings | None = None,
    clock: Clock | None = None,
    slots: Slots | None = None,
    durability: Durability = "process",
) -> AsyncIterator[LocalEngine]:
    """Open the file (`:memory:` keeps nothing) and wire the engine. Raises DataFileError if another process uses it.

    `own`: more invokers by kind of target, besides the one for HTTP. `clock`: the system clock by default.
    `slots` limits the concurrent calls to user code, by default as `FairSlots` does. `durability`: what a write that
    has returned survives, the end of the process or also a power cut.
    """
    clock = clock or SystemClock()
    store = SqliteStore.open(path, clock=clock, durability=durability)
    try:
        async with HttpInvoker() as http:
            queue = LocalQueue(store, clock, QUEUE, longest_delay_seconds=_UNLIMITED)
            invokers: dict[str, Invoker] = {"http": http, **(own or {})}
            engine = Engine.build(
                table=store.table,
                blobs=store.blobs,
                queue=queue,
                invokers=invokers,
                clock=clock,
                random_source=SystemRandom(),
                observer=observer,
                slots=slots or FairSlots(),
                settings=settings or EngineSettings(longest_delay_seconds=_UNLIMITED),
            )
            yield LocalEngine(store, queue, engine, invokers, http, clock)
    finally:
        store.close()
