"""A whole engine in one process: SQLite, the local queue, invokers, and the clock's tick.

The file outlives the process: killed at any moment and started again, it goes on with every run.
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
from milepost_engine.adapters.random_source import SystemRandom
from milepost_engine.engine import Engine, EngineSettings
from milepost_engine.observe import Observer
from milepost_engine.timers import TICK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from milepost_engine.ports import Clock, Invoker

__all__ = ["CONCURRENCY", "LocalEngine", "default_file", "open_local"]

CONCURRENCY: Final = 64
"""Messages worked off at once; as many as the SDK has workers."""
QUEUE: Final = "work"
_UNLIMITED: Final = float("inf")
_log = logging.getLogger("milepost.dev")


def default_file(environment: Mapping[str, str], home: Path) -> Path:
    """Where a user's data lies: `dev.db` in the state folder (XDG base directories)."""
    state = environment.get("XDG_STATE_HOME", "")
    # A relative path is invalid there and must be ignored, says the XDG specification.
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
        """Work messages off and tick, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.queue.run(self._handle, concurrency=CONCURRENCY))
            tasks.create_task(self._tick())

    async def _handle(self, received: Received) -> None:
        await self.engine.handle(received.body, redelivered=received.receive_count > 1)

    async def _tick(self) -> None:
        while True:
            try:
                await self.engine.timers.tick()
                await self.store.table.sweep_expired()
            except Exception:  # noqa: BLE001 - whatever it was, the clock goes on
                _log.exception("the minute's tick failed; the next one makes up for it")
            await self.clock.sleep(TICK.total_seconds())


@asynccontextmanager
async def open_local(
    path: Path | str,
    observer: Observer,
    own: Mapping[str, Invoker] | None = None,
    *,
    settings: EngineSettings | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[LocalEngine]:
    """Open the file (`:memory:` keeps nothing) and wire the engine. Raises DataFileError if another process has it.

    `own`: invokers by kind of target, besides the one for HTTP. `clock`: the system's, unless a test winds its own.
    """
    clock = clock or SystemClock()
    store = SqliteStore.open(path, clock=clock)
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
                settings=settings or EngineSettings(longest_delay_seconds=_UNLIMITED),
            )
            yield LocalEngine(store, queue, engine, invokers, http, clock)
    finally:
        store.close()
