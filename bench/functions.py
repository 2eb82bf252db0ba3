"""The functions that are measured."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path

from milepost import App, Context, Event

app = App("bench")


@app.function(id="three", trigger=Event("three"))
async def three(ctx: Context) -> int:
    one = await ctx.step.run("one", lambda: 1)
    two = await ctx.step.run("two", lambda: one + 1)
    return await ctx.step.run("three", lambda: two + 1)


@app.function(id="three-checkpointed", trigger=Event("three-checkpointed"), mode="checkpoint")
async def three_checkpointed(ctx: Context) -> int:
    one = await ctx.step.run("one", lambda: 1)
    two = await ctx.step.run("two", lambda: one + 1)
    return await ctx.step.run("three", lambda: two + 1)


@app.function(id="long", trigger=Event("long"))
async def long(ctx: Context) -> int:
    for n in range(ctx.event.data["steps"]):
        await ctx.step.run("n", lambda n: n, n)
    return 0


@app.function(id="long-checkpointed", trigger=Event("long-checkpointed"), mode="checkpoint")
async def long_checkpointed(ctx: Context) -> int:
    for n in range(ctx.event.data["steps"]):
        await ctx.step.run("n", lambda n: n, n)
    return 0


@app.function(id="wide", trigger=Event("wide"))
async def wide(ctx: Context) -> int:
    return len(await asyncio.gather(*(ctx.step.run("n", lambda n: n, n) for n in range(ctx.event.data["steps"]))))


@app.function(id="waiting", trigger=Event("waiting"))
async def waiting(ctx: Context) -> bool:
    return await ctx.step.wait_for_event("it", "found", timeout=timedelta(days=1), match="data.id") is not None


@app.function(id="sleeping", trigger=Event("sleeping"))
async def sleeping(ctx: Context) -> float:
    due = await ctx.step.run("due", lambda: time.time() + 0.5)
    await ctx.step.sleep("nap", timedelta(milliseconds=500))
    return await ctx.step.run("woke", lambda: time.time() - due)


for number in range(20):

    @app.function(id=f"fan-{number}", trigger=Event("fan"))
    async def fan(ctx: Context) -> int:
        return await ctx.step.run("one", lambda: 1)


@app.function(id="ledger", trigger=Event("ledger"))
async def ledger(ctx: Context) -> int:
    """Three steps; the body of the last one writes when it ran to the file that LEDGER names."""
    one = await ctx.step.run("one", lambda: 1)
    two = await ctx.step.run("two", lambda: one + 1)
    return await ctx.step.run("three", _note, two, ctx.event.data["sent"])


def _note(two: int, sent: float) -> int:
    with Path(os.environ["LEDGER"]).open("a", encoding="ascii") as file:
        file.write(f"{sent} {time.time()}\n")
    return two + 1
