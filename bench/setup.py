"""A whole local engine for measuring: a real SQLite file, the real queue, user code in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from milepost_console.code.host import KIND, CodeHost
from milepost_console.code.loader import parse_location
from milepost_console.dev.startup import keep_loaded
from milepost_engine.adapters.clock import SystemClock
from milepost_engine.adapters.local.queue import LocalQueue, Received
from milepost_engine.adapters.local.sqlite import SqliteStore
from milepost_engine.adapters.random_source import SystemRandom
from milepost_engine.core.run import Record, Run, RunEnded
from milepost_engine.engine import Engine, EngineSettings
from milepost_engine.observe import Silent
from milepost_engine.ports import Target

ROOT = Path(__file__).parents[1]
Durability = Literal["process", "power"]


@dataclass
class Ends(Silent):
    """Counts ended runs and wakes whoever waits for them."""

    ended: int = 0
    wanted: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    on_record: Callable[[Record], None] | None = None

    def recorded(self, run: Run, record: Record) -> None:  # noqa: ARG002 - as the port has it
        if self.on_record:
            self.on_record(record)
        if isinstance(record, RunEnded):
            self.ended += 1
            if self.ended >= self.wanted:
                self.reached.set()

    def expect(self, count: int) -> None:
        self.ended, self.wanted = 0, count
        self.reached.clear()
        if not count:
            self.reached.set()


@dataclass
class BenchEngine:
    engine: Engine
    queue: LocalQueue
    store: SqliteStore
    ends: Ends
    code: CodeHost

    def cpu(self) -> float:
        """Seconds of CPU time that this process and the one with the user's code have taken."""
        assert self.code.serving
        # The number that Linux has for the clock of another process's CPU time; elsewhere only our own is counted.
        there = time.clock_gettime((~self.code.serving.pid << 3) | 2) if sys.platform == "linux" else 0.0
        return time.process_time() + there

    async def run(self, events: Sequence[Mapping[str, object]], ends: int) -> None:
        """Send the events and wait for so many runs to end."""
        self.ends.expect(ends)
        for place in range(0, len(events), 1000):
            read = await self.engine.accept(events[place : place + 1000])
            assert not read.problem
        await self.ends.reached.wait()


@asynccontextmanager
async def bench_engine(*, durability: Durability = "process", concurrency: int = 64) -> AsyncIterator[BenchEngine]:
    """An engine serving the measured functions; the file lies in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        clock = SystemClock()
        store = SqliteStore.open(Path(folder) / "bench.db", clock=clock, durability=durability)
        queue = LocalQueue(store, clock, "work", longest_delay_seconds=float("inf"))
        ends = Ends()
        code = CodeHost([parse_location("bench/functions.py", ROOT)], ROOT, "http://127.0.0.1")
        engine = Engine.build(
            table=store.table,
            blobs=store.blobs,
            queue=queue,
            invokers={KIND: code},
            clock=clock,
            random_source=SystemRandom(),
            observer=ends,
            settings=EngineSettings(longest_delay_seconds=float("inf")),
        )
        code.checkpointer = engine.checkpointer
        process = await code.load()
        code.serve(process)
        for app_id, manifest in process.manifests.items():
            await engine.registry.sync(manifest, Target(KIND, app_id))

        async def handle(received: Received) -> None:
            await engine.handle(received.body)

        keep_loaded()
        consumer = asyncio.create_task(queue.run(handle, concurrency=concurrency))
        try:
            yield BenchEngine(engine, queue, store, ends, code)
        finally:
            consumer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await consumer
            await code.close()
            store.close()
