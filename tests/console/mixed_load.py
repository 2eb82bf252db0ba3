"""The load of the mixed kills: each way in which a run can hear of something twice, in both modes.

Every body notes its beginning and its end in a ledger, together with the values of the steps before it. A value names
its step and the body that made it, so the ledger alone shows what was recorded, and when at the latest.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

from milepost import App, Cancel, Context, Event, Retries, StepError

app = App("load")
QUICK = Retries(max_retries=20, first_delay="1s", factor=1, jitter=0)
LEDGER = os.environ["LEDGER"]
SERVER = os.getppid()
MODES: dict[str, Any] = {"": {}, "-saved": {"mode": "checkpoint"}}


def note(**line: object) -> None:
    """One line with the process and the time: on a clock that all processes share, and as people read it."""
    row = {"pid": os.getpid(), "server": SERVER, "at": time.monotonic(), "wall": time.time()} | line
    ledger = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(ledger, (json.dumps(row) + "\n").encode())
    os.close(ledger)


Path(LEDGER + ".pid").write_text(str(os.getpid()))


async def body(run_id: str, step: str, earlier: list[str], seconds: float = 0.0) -> str:
    value = f"{step}:{uuid.uuid4().hex}"
    note(what="begun", run=run_id, step=step, value=value, earlier=earlier)
    await asyncio.sleep(seconds)
    note(what="ended", run=run_id, step=step, value=value)
    return value


async def fails_once(run_id: str, step: str, earlier: list[str]) -> str:
    value = f"{step}:{uuid.uuid4().hex}"
    note(what="begun", run=run_id, step=step, value=value, earlier=earlier)
    try:
        os.close(os.open(f"{LEDGER}.{run_id}.failed", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        note(what="ended", run=run_id, step=step, value=value)
        return value
    note(what="failed", run=run_id, step=step, value=value)
    raise RuntimeError("the first time it fails")


def paid(event: Any) -> str:
    return f"paid:{event.data['which'] if event else 'nothing'}"


@app.function(id="child", triggers=[], retries=QUICK)
async def child(ctx: Context) -> str:
    return await ctx.step.run("inner", body, ctx.run_id, "inner", [])


def declare(suffix: str, options: dict[str, Any]) -> None:
    """All stories in one mode."""
    go: dict[str, Any] = {"trigger": Event("go"), "retries": QUICK} | options

    @app.function(id="news" + suffix, **go)
    async def news(ctx: Context) -> list[str]:
        """A second event for a wait comes while a later step runs, or with the first one."""
        got = [await ctx.step.run("order", body, ctx.run_id, "order", [])]
        event = await ctx.step.wait_for_event("paid", "paid", timeout="1h", match="data.n", lookback="1h")
        got.append(paid(event))
        got.append(await ctx.step.run("charge", body, ctx.run_id, "charge", got, 0.05))
        return [*got, await ctx.step.run("ship", body, ctx.run_id, "ship", got)]

    @app.function(id="late" + suffix, **go)
    async def late(ctx: Context) -> list[str]:
        """The timeout of the wait passes while the step after it runs."""
        event = await ctx.step.wait_for_event("paid", "paid", timeout="1s", match="data.n")
        got = [paid(event)]
        got.append(await ctx.step.run("charge", body, ctx.run_id, "charge", got, 1.2))
        return [*got, await ctx.step.run("ship", body, ctx.run_id, "ship", got)]

    @app.function(id="invoke" + suffix, **go)
    async def invoke(ctx: Context) -> list[str]:
        """The timeout of the invoke passes while the step after it runs."""
        try:
            answer = await ctx.step.invoke("call", child, {}, timeout="1s")
        except StepError:
            answer = "too late"
        got = [f"call:{answer}"]
        got.append(await ctx.step.run("charge", body, ctx.run_id, "charge", got, 1.2))
        return [*got, await ctx.step.run("ship", body, ctx.run_id, "ship", got)]

    @app.function(id="race" + suffix, **go)
    async def race(ctx: Context) -> list[str]:
        """The loser of a race comes while the step after it runs."""
        nap = asyncio.ensure_future(ctx.step.sleep("nap", "300ms"))
        wait = asyncio.ensure_future(ctx.step.wait_for_event("paid", "paid", timeout="1h", match="data.n"))
        await asyncio.wait([nap, wait], return_when=asyncio.FIRST_COMPLETED)
        got = [await ctx.step.run("charge", body, ctx.run_id, "charge", [], 0.4)]
        return [*got, await ctx.step.run("ship", body, ctx.run_id, "ship", got)]

    @app.function(id="join" + suffix, **(go | {"trigger": None, "triggers": [Event("go"), Event("branches")]}))
    async def join(ctx: Context) -> list[str]:
        """Three branches of two steps end together."""

        async def branch(name: str) -> list[str]:
            first = await ctx.step.run(name + "1", body, ctx.run_id, name + "1", [])
            return [first, await ctx.step.run(name + "2", body, ctx.run_id, name + "2", [first])]

        got = [value for pair in await asyncio.gather(*map(branch, "abc")) for value in pair]
        await ctx.step.sleep("nap", "20ms")
        return [*got, await ctx.step.run("end", body, ctx.run_id, "end", got)]

    @app.function(id="retry" + suffix, **go)
    async def retry(ctx: Context) -> list[str]:
        """A step fails once, between two that do not."""
        got = [await ctx.step.run("order", body, ctx.run_id, "order", [])]
        got.append(await ctx.step.run("flaky", fails_once, ctx.run_id, "flaky", got))
        return [*got, await ctx.step.run("ship", body, ctx.run_id, "ship", got)]

    @app.function(id="stopped" + suffix, cancel_on=[Cancel("stop", match="data.n")], **go)
    async def stopped(ctx: Context) -> list[str]:
        """It is cancelled at a random moment, by an event or by hand, or not at all."""
        got = [await ctx.step.run("order", body, ctx.run_id, "order", [], 0.1)]
        await ctx.step.sleep("nap", "100ms")
        got.append(f"call:{await ctx.step.invoke('call', child, {})}")
        got.append(await ctx.step.run("charge", body, ctx.run_id, "charge", got, 0.2))
        return [*got, await ctx.step.run("ship", body, ctx.run_id, "ship", got)]


for _suffix, _options in MODES.items():
    declare(_suffix, _options)
