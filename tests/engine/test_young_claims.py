"""The sweeper takes nothing over from a worker that has claimed it lately, however long the run was quiet before."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from tests.scenarios.rig import Rig, rig

from milepost import App, Context
from milepost.protocol import hash_step_id
from milepost_engine.core.run import Run
from milepost_engine.runs.sweeper import WATCH_GRACE, Found, check
from milepost_engine.store.messages import WatchRun, encode
from milepost_engine.store.runs import Claimant, ClaimResult

HOUR = timedelta(hours=1)


def fan_out(bodies: list[str]) -> App:
    """Two parallel steps beside a long sleep."""
    app = App("a")

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> None:
        await asyncio.gather(ctx.step.sleep("nap", "9d"), *(ctx.step.run(name, bodies.append, name) for name in "ab"))

    return app


async def planned(r: Rig, lost: str) -> Run:
    """A run whose steps are planned; an hour has passed since the messages of some were lost."""
    jobs = {hash_step_id(name, 0) for name in lost}

    async def handle(received: Any) -> None:
        if json.loads(received.body).get("job") not in jobs:
            await r.engine.handle(received.body)

    await r.engine.accept({"name": "go"})
    await r.queue.drain(handle)
    await r.clock.advance(HOUR.total_seconds())
    return await only_run(r)


async def only_run(r: Rig) -> Run:
    run = await r.engine.runs.load((await r.only_run())["run_id"], "a-f")
    assert run is not None
    return run


async def sweep(r: Rig, run: Run) -> None:
    await r.engine.handle(encode(WatchRun(run.run_id, "a-f", message_id="watch")))
    await r.settle()


@pytest.mark.parametrize("lost", ["a", "ab"])
async def test_the_sweeper_takes_a_step_over_once_its_worker_must_be_gone_and_no_earlier(lost: str):
    bodies = list[str]()
    async with rig(fan_out(bodies)) as r:
        run = await planned(r, lost)
        before = list(bodies)
        for op in [op for op in run.open_ops if op.name in lost]:
            at_work = Claimant("a worker's message", succeeds="", at=r.clock.now())
            assert await r.engine.runs.claim_step(run, op.step_id, 0, f"claim on {op.name}", at_work)
        await r.clock.advance(60)
        await sweep(r, run)
        assert bodies == before
        await r.clock.advance(WATCH_GRACE.total_seconds() + 1)
        await sweep(r, run)
        assert sorted(bodies) == ["a", "b"]


async def test_a_run_that_was_claimed_lately_is_not_overdue():
    async with rig(fan_out([])) as r:
        run = await planned(r, "ab")
        assert check(run, r.clock.now()) is Found.OVERDUE
        successor = Claimant("m", succeeds=run.owner, at=r.clock.now())
        assert await r.engine.runs.claim_run(run, "next", successor) is ClaimResult.MINE
        assert check(await only_run(r), r.clock.now() + WATCH_GRACE) is Found.WELL
        assert check(await only_run(r), r.clock.now() + WATCH_GRACE + timedelta(seconds=1)) is Found.OVERDUE
