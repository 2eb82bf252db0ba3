"""What waiting costs: finding one wait among many, and waking in time."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import replace
from typing import Any

from bench.setup import BenchEngine, bench_engine
from bench.table import show
from milepost_engine.operations.queries import RunFilter

MEASURED = 40


async def waits(counts: tuple[int, ...]) -> None:
    """The runs that are measured are real ones; the waits around them belong to copies of such a run."""
    base = 0.0
    async with bench_engine() as p:
        await _matches(p)
        opened = 0
        for count in counts:
            opened = await _fill(p, opened, count)
            middle = await _matches(p)
            base = base or middle
            show(
                f"event to the end of the one run that waits for it, {count:,} open waits",
                f"{middle:.2f} ms",
                f"p50 of {MEASURED}, × {middle / base:.2f}",
            )


async def _matches(p: BenchEngine) -> float:
    """The median time from an event to the end of the run that waited for it."""
    await p.run([{"name": "waiting", "data": {"id": n}} for n in range(MEASURED)], 0)
    await p.queue.idle_until()
    times = []
    for n in range(MEASURED):
        began = time.perf_counter()
        await p.run([{"name": "found", "data": {"id": n}}], 1)
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


async def _fill(p: BenchEngine, opened: int, count: int) -> int:
    engine = p.engine
    await p.run([{"name": "waiting", "data": {"id": -1}}], 0)
    await p.queue.idle_until()
    rows: Any = (await engine.queries.list_runs(RunFilter(functions=("bench-waiting",)), limit=1))["runs"]
    run = await engine.runs.load(rows[0]["run_id"])
    assert run is not None
    (op,) = run.open_ops
    opened_at = run.plans[-1].recorded_at
    for first in range(opened, count, 500):
        many = range(first, min(first + 500, count))
        await asyncio.gather(
            *(
                engine.waits.open(
                    replace(run, run_id=f"FILLER{n:08d}"), op, {"data": {"id": 1_000_000 + n}}, opened_at, opened_at
                )
                for n in many
            )
        )
    return count


async def lateness(runs: int) -> None:
    async with bench_engine() as p:
        await p.run([{"name": "sleeping"}] * runs, runs)
        rows: Any = (await p.engine.queries.list_runs(RunFilter(), limit=runs))["runs"]
        ended: list[Any] = [await p.engine.queries.run(row["run_id"]) for row in rows]
        late = [float(run["output"]) * 1000 for run in ended]
    late.sort()
    show(
        f"{runs} runs that sleep for 500 ms at the same time: late by",
        f"{late[runs // 2]:.1f} / {late[-1]:.1f} ms",
        "p50 / worst; all wake at once, so the last waits for the others",
    )
