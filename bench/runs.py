"""How fast runs go: many at once, one alone, long ones and wide ones."""

from __future__ import annotations

import itertools
import statistics
import time

from bench.setup import Durability, bench_engine
from bench.table import show


async def throughput(name: str, runs: int, durability: Durability) -> None:
    async with bench_engine(durability=durability) as p:
        await p.run([{"name": name}] * 100, 100)
        began, cpu = time.perf_counter(), p.cpu()
        await p.run([{"name": name}] * runs, runs)
        took, cpu = time.perf_counter() - began, p.cpu() - cpu
    steps = 3 * runs
    mode = "checkpoint mode" if name.endswith("checkpointed") else "step mode"
    aim = ", aim ≥ 1,500 steps/s" if durability == "process" else ""
    show(
        f"{runs:,} three-step runs, {mode}, durable to a {durability} failure",
        f"{steps / took:,.0f} steps/s",
        f"{cpu / steps * 1000:.2f} ms CPU per step, user code and SDK included{aim}",
    )


async def latency(durability: Durability) -> None:
    async with bench_engine(durability=durability) as p:
        times = []
        for _ in range(140):
            began = time.perf_counter()
            await p.run([{"name": "three"}], 1)
            times.append((time.perf_counter() - began) * 1000)
    times = sorted(times[40:])
    show(
        f"one three-step run, event to end, of 100 (durable to a {durability} failure)",
        f"{times[50]:.2f} / {times[98]:.2f} ms",
        "p50 / p99" + (", aim p50 < 5 ms" if durability == "process" else ""),
    )


async def between_steps(runs: int) -> None:
    async with bench_engine() as p:
        marks: list[float] = []
        p.ends.on_record = lambda _: marks.append(time.perf_counter())
        gaps = []
        for _ in range(runs):
            marks.clear()
            await p.run([{"name": "three"}], 1)
            gaps += [(b - a) * 1000 for a, b in itertools.pairwise(marks[:3])]
    gaps.sort()
    show(f"from one step's record to the next, {runs} runs alone", f"{gaps[len(gaps) // 2]:.2f} ms", "p50")


async def long_run(name: str, steps: int) -> None:
    """Steps are compared by CPU time as well: what else the machine does is not in it."""
    async with bench_engine() as p:
        marks: list[tuple[float, float]] = []
        await p.run([{"name": name, "data": {"steps": 20}}], 1)
        p.ends.on_record = lambda _: marks.append((time.perf_counter(), p.cpu()))
        await p.run([{"name": name, "data": {"steps": steps}}], 1)
    wall = [(b[0] - a[0]) * 1000 for a, b in itertools.pairwise(marks)]
    cpu = [(b[1] - a[1]) * 1000 for a, b in itertools.pairwise(marks)]
    tenth = max(10, steps // 10)
    first, last = statistics.median(wall[:tenth]), statistics.median(wall[-tenth:])
    cpu_ratio = statistics.mean(cpu[-tenth:]) / statistics.mean(cpu[:tenth])
    aim = ", aim × 1.5 at 1,000" if name.endswith("checkpointed") else ", each call replays all steps before"
    show(
        f"a run of {steps:,} steps ({name}), per step in its first / last tenth",
        f"{first:.2f} / {last:.2f} ms",
        f"× {last / first:.2f}, CPU × {cpu_ratio:.2f}{aim}",
    )


async def wide_run(steps: int) -> None:
    async with bench_engine() as p:
        began, cpu = time.perf_counter(), p.cpu()
        await p.run([{"name": "wide", "data": {"steps": steps}}], 1)
        took, cpu = time.perf_counter() - began, p.cpu() - cpu
    show(
        f"a run of {steps:,} parallel steps, all of it",
        f"{took * 1000:,.0f} ms",
        f"{cpu / steps * 1000:.2f} ms CPU per step; each call comes upon all {steps:,} step calls",
    )


async def fan_out() -> None:
    async with bench_engine() as p:
        began = time.perf_counter()
        await p.run([{"name": "fan"}] * 100, 2000)
        took = time.perf_counter() - began
    show("100 events to 20 functions each (2,000 one-step runs)", f"{2000 / took:,.0f} runs/s")
