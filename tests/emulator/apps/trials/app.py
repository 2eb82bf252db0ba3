"""Functions that fail on purpose. What happened outside of them is kept in files, for each try is another process."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from milepost import App, Context, Cron, Retries, SyncContext, WebhookRequest

REVISION = os.environ.get("REVISION", "")
FOLDER = Path(os.environ.get("TRIALS_FOLDER", "/tmp"))

quick = Retries(max_retries=2, first_delay=timedelta(seconds=1), factor=1)

app = App("trials", retries=quick)


def tries(name: str) -> int:
    """One more try; how many there were with it."""
    with (FOLDER / f"{name}.tries").open("a") as mark:
        mark.write(".")
        mark.flush()
        return mark.tell()


def fall_once(name: str, how: str) -> str:
    if tries(name) == 1:
        match how:
            case "exit":
                os._exit(7)
            case "timeout":
                time.sleep(60)
            case "memory":  # what Lambda does to a process that takes too much
                os.kill(os.getpid(), signal.SIGKILL)
    return f"stood up after {how}"


@app.function(id="crash", trigger="trial/crash")
def crash(ctx: SyncContext) -> str:
    name, how = ctx.event.data["name"], ctx.event.data["how"]
    ctx.step.run("before", tries, f"{name}-before")
    return ctx.step.run("fall", fall_once, name, how)


def need(name: str) -> str:
    tries(name)
    if not (FOLDER / f"{name}.fixed").exists():
        raise RuntimeError(f"{name} is broken")
    return "fixed"


@app.function(id="fail", trigger="trial/fail", retries=0)
async def fail(ctx: Context) -> str:
    name = ctx.event.data["name"]
    await ctx.step.run("before", tries, f"{name}-before")
    return await ctx.step.run("need", need, name)


@app.function(id="deploy-meanwhile", trigger="trial/deploy")
async def deploy_meanwhile(ctx: Context) -> list[str]:
    before = await ctx.step.run("before", lambda: REVISION)
    await ctx.step.wait_for_event("go", "trial/go", timeout=timedelta(minutes=5), match="data.name")
    after = await ctx.step.run("after", lambda: REVISION)
    return [before, after]


if REVISION == "1":

    @app.function(id="leaving", trigger="trial/leaving")
    async def leaving(ctx: Context) -> str:
        await ctx.step.wait_for_event("go", "trial/go", timeout=timedelta(minutes=5), match="data.name")
        return await ctx.step.run("end", lambda: "ended on the code that had it")


@app.function(id="scan", trigger="aws.s3/Object Created")
async def scan(ctx: Context) -> str:
    return await ctx.step.run("name", lambda: ctx.event.data["object"]["key"])


@app.function(id="large", trigger="trial/large")
async def large(ctx: Context) -> int:
    text = await ctx.step.run("write", lambda: os.urandom(150_000).hex())
    return await ctx.step.run("read", len, text)


def timed(name: str, value: int) -> int:
    """Notes each moment at which its body begins."""
    with (FOLDER / f"{name}-{value}.begun").open("a") as mark:
        mark.write(f"{time.time()}\n")
    return value


@app.function(id="many", trigger="trial/many", mode="checkpoint")
async def many(ctx: Context) -> int:
    return sum([await ctx.step.run(f"step {n}", timed, ctx.event.data["name"], n) for n in range(10)])


@app.function(id="three", trigger="trial/three")
async def three(ctx: Context) -> int:
    one = await ctx.step.run("one", timed, ctx.event.data["name"], 1)
    await ctx.step.sleep("a moment", timedelta(seconds=1))
    pair = await asyncio.gather(*(ctx.step.run(f"side {n}", timed, ctx.event.data["name"], n) for n in (2, 3)))
    return one + sum(pair)


@app.function(id="heavy", trigger="trial/heavy", mode="checkpoint")
async def heavy(ctx: Context) -> int:
    """Saves values in the bucket itself, more than a call can carry; after its death another process reads them."""
    texts = [await ctx.step.run(f"write {n}", lambda: os.urandom(900_000).hex()) for n in range(3)]
    await ctx.step.run("fall", fall_once, f"{ctx.event.data['name']}-heavy", "exit")
    return await ctx.step.run("read", lambda: sum(map(len, texts)))


@app.function(id="pair", trigger="trial/pair")
async def pair(ctx: Context) -> list[int]:
    return list(await asyncio.gather(ctx.step.run("left", lambda: 1), ctx.step.run("right", lambda: 2)))


@app.function(id="tell", trigger="trial/tell")
async def tell(ctx: Context) -> None:
    await ctx.step.send_event("tell", {"name": "trial/once", "data": ctx.event.data})


@app.webhook("bank", secret="whsec", header="x-signature")
def bank(request: WebhookRequest) -> Any:
    return {"name": "trial/once", "data": request.json}


@app.function(id="once", trigger="trial/once")
async def once(ctx: Context) -> int:
    count = await ctx.step.run("count", tries, ctx.event.data["name"])
    await ctx.step.sleep("a moment", timedelta(seconds=1))
    return count


@app.function(id="tick", trigger=Cron("* * * * *"))
async def tick(ctx: Context) -> int:
    return await ctx.step.run("count", tries, "tick")
