"""`make bench`: speed on this machine, printed as numbers beside the aims. Nothing here passes or fails."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from datetime import timedelta

from bench.place import place
from milepost import App, Context, Event

app = App("bench")


@app.function(id="three", trigger=Event("three"))
async def three(ctx: Context) -> int:
    one = await ctx.step.run("one", lambda: 1)
    two = await ctx.step.run("two", lambda: one + 1)
    return await ctx.step.run("three", lambda: two + 1)


@app.function(id="checkpointed", trigger=Event("checkpointed"), mode="checkpoint")
async def checkpointed(ctx: Context) -> int:
    one = await ctx.step.run("one", lambda: 1)
    two = await ctx.step.run("two", lambda: one + 1)
    return await ctx.step.run("three", lambda: two + 1)


@app.function(id="long", trigger=Event("long"))
async def long(ctx: Context) -> int:
    for n in range(500):
        await ctx.step.run("n", lambda n=n: n)
    return 500


@app.function(id="long-checkpointed", trigger=Event("long-checkpointed"), mode="checkpoint")
async def long_checkpointed(ctx: Context) -> int:
    for n in range(500):
        await ctx.step.run("n", lambda n=n: n)
    return 500


@app.function(id="wide", trigger=Event("wide"))
async def wide(ctx: Context) -> int:
    return len(await asyncio.gather(*(ctx.step.run("n", lambda n=n: n) for n in range(200))))


@app.function(id="waiting", trigger=Event("waiting"))
async def waiting(ctx: Context) -> bool:
    found = await ctx.step.wait_for_event("it", "found", timeout=timedelta(days=1), match="data.id")
    return found is not None


@app.function(id="sleeping", trigger=Event("sleeping"))
async def sleeping(ctx: Context) -> float:
    began = await ctx.step.run("began", time.time)
    await ctx.step.sleep("nap", timedelta(milliseconds=500))
    return await ctx.step.run("woke", lambda: time.time() - began - 0.5)


for number in range(20):

    @app.function(id=f"fan-{number}", trigger=Event("fan"))
    async def fan(ctx: Context) -> int:
        return await ctx.step.run("one", lambda: 1)


def show(what: str, value: str, aim: str = "") -> None:
    print(f"{what:62} {value:>22}   {aim}")


async def throughput(name: str, runs: int, durability: str) -> None:
    async with place(app, durability=durability) as p:
        await p.run([{"name": name}] * 50, 50)
        began = time.perf_counter()
        await p.run([{"name": name}] * runs, runs)
        took = time.perf_counter() - began
    mode = "checkpoint mode" if name == "checkpointed" else "step mode"
    show(
        f"{runs} three-step runs, {mode}, durable to a {durability} failure",
        f"{3 * runs / took:,.0f} steps/s",
        "aim ≥ 1,500" if durability == "process" else "",
    )


async def latency(durability: str) -> None:
    async with place(app, durability=durability) as p:
        times = []
        for _ in range(120):
            began = time.perf_counter()
            await p.run([{"name": "three"}], 1)
            times.append((time.perf_counter() - began) * 1000)
        times = sorted(times[20:])
    show(
        f"one three-step run, event to end, p50 / p99 of 100 ({durability})",
        f"{times[50]:.2f} / {times[98]:.2f} ms",
        "aim p50 < 5 ms" if durability == "process" else "",
    )
    show(f"between two steps, p50 ({durability})", f"{times[50] / 4:.2f} ms")


async def long_runs(name: str) -> None:
    async with place(app) as p:
        marks: list[float] = []
        recorded = p.ends.recorded

        def mark(run: object, record: object) -> None:
            marks.append(time.perf_counter())
            recorded(run, record)  # type: ignore[arg-type]

        p.ends.recorded = mark  # type: ignore[method-assign]
        await p.run([{"name": name}], 1)
    gaps = [(b - a) * 1000 for a, b in itertools.pairwise(marks)]
    first, last = statistics.median(gaps[:50]), statistics.median(gaps[-50:])
    show(
        f"a run of 500 steps ({name}): per step at the start / end",
        f"{first:.2f} / {last:.2f} ms",
        f"× {last / first:.2f}",
    )


async def wide_run() -> None:
    async with place(app) as p:
        began = time.perf_counter()
        await p.run([{"name": "wide"}], 1)
        show("a run of 200 parallel steps, all of it", f"{(time.perf_counter() - began) * 1000:,.0f} ms")


async def fan_out() -> None:
    async with place(app) as p:
        began = time.perf_counter()
        await p.run([{"name": "fan"}] * 100, 2000)
        took = time.perf_counter() - began
    show("100 events to 20 functions each (2,000 one-step runs)", f"{2000 / took:,.0f} runs/s")


async def waits(counts: tuple[int, ...]) -> None:
    base = 0.0
    async with place(app) as p:
        opened = 0
        for count in counts:
            await p.run([{"name": "waiting", "data": {"id": n}} for n in range(opened, count)], 0)
            await p.queue.idle_until()
            opened = count
            times = []
            for n in range(20):
                began = time.perf_counter()
                await p.run([{"name": "found", "data": {"id": n}}], 1)
                times.append((time.perf_counter() - began) * 1000)
            await p.run([{"name": "waiting", "data": {"id": n}} for n in range(20)], 0)
            await p.queue.idle_until()
            middle = statistics.median(times)
            base = base or middle
            show(
                f"event to end of the one run that waits for it, {count:,} open waits",
                f"{middle:.2f} ms",
                f"× {middle / base:.2f}",
            )


async def lateness() -> None:
    late: list[float] = []
    async with place(app) as p:
        await p.run([{"name": "sleeping"}] * 200, 200)
        for row in (await p.engine.queries.list_runs(_everything(), limit=200))["runs"]:  # type: ignore[union-attr]
            run = await p.engine.queries.run(row["run_id"])
            late.append(float(run["output"]) * 1000)  # type: ignore[index,arg-type]
    late.sort()
    show("200 sleepers of 500 ms: late by, p50 / worst", f"{late[100]:.1f} / {late[-1]:.1f} ms")


def _everything() -> object:
    from milepost_engine.queries import RunFilter  # noqa: PLC0415

    return RunFilter()


async def main() -> None:
    for durability in ("process", "power"):
        await throughput("three", 1000, durability)
        await throughput("checkpointed", 1000, durability)
        await latency(durability)
    await long_runs("long")
    await long_runs("long-checkpointed")
    await wide_run()
    await fan_out()
    await waits((100, 10_000, 100_000))
    await lateness()


if __name__ == "__main__":
    asyncio.run(main())
