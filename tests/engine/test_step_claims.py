"""Who may call user code for an attempt of a planned step: every way to the claim, and what closes it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.scenarios.rig import Rig, rig

from milepost import App, Context, Retries
from milepost_engine.core.run import Run
from milepost_engine.store.runs import Claimant

FIRST = Claimant("m1", succeeds="")
AGAIN = Claimant("m1", redelivered=True, succeeds="")


async def planned(r: Rig) -> tuple[Run, str]:
    """A run, and a step of it that nobody has claimed."""
    await r.send("go")
    run = await r.engine.runs.load((await r.only_run())["run_id"], "a-f")
    assert run is not None
    return run, "a step"


def waiting() -> App:
    app = App("a")

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> None:
        await asyncio.gather(ctx.step.sleep("a", "1d"), ctx.step.sleep("b", "1d"))

    return app


async def test_a_redelivered_message_may_ask_for_the_attempt_after_the_one_that_it_recorded():
    """Its worker recorded a failed attempt and died before it asked for the next one."""
    async with rig(waiting()) as r:
        run, job = await planned(r)
        claim = r.engine.runs.claim_step
        assert await claim(run, job, 1, "owner 1", FIRST)
        assert await claim(run, job, 2, "owner 2", AGAIN)


async def test_the_retry_of_a_parallel_step_is_made_when_its_worker_died_before_it_asked_for_it():
    """The message of the failed attempt comes again when the retry is due: its body runs once more, and no other."""
    app, bodies = App("a"), list[str]()

    @app.function(id="f", trigger="go", retries=Retries(max_retries=2, first_delay="10s", factor=1, jitter=0))
    async def f(ctx: Context) -> None:
        def flaky() -> None:
            bodies.append("flaky")
            if bodies.count("flaky") < 3:
                raise RuntimeError("not yet")

        await asyncio.gather(ctx.step.run("flaky", flaky), ctx.step.run("other", bodies.append, "other"))
        await ctx.step.run("end", bodies.append, "end")

    async with rig(app) as r:
        sent: list[str] = []

        async def handle(received: Any) -> None:
            message = json.loads(received.body)
            if message.get("attempt") != 2:  # the second retry is as if it had never been sent
                sent.append(received.body)
                await r.engine.handle(received.body)

        await r.engine.accept({"name": "go"})
        await r.queue.drain(handle)
        for _ in range(2):
            await r.clock.advance(11)
            await r.queue.drain(handle)
        assert sorted(bodies) == ["flaky", "flaky", "other"]
        [body] = [each for each in sent if json.loads(each).get("attempt") == 1]
        for _ in range(2):
            await r.engine.handle(body, redelivered=True)
            await r.settle()
        assert (await r.only_run())["status"] == "Completed"
        assert sorted(bodies) == ["end", "flaky", "flaky", "flaky", "other"]


async def test_a_redelivered_message_gets_no_attempt_that_another_message_has():
    async with rig(waiting()) as r:
        run, job = await planned(r)
        claim = r.engine.runs.claim_step
        assert await claim(run, job, 1, "owner 1", FIRST)
        assert await claim(run, job, 2, "owner 2", Claimant("m2", succeeds="owner 1"))
        assert not await claim(run, job, 2, "owner 3", AGAIN)
        assert not await claim(run, job, 1, "owner 4", AGAIN)


async def test_only_one_of_the_redelivered_message_and_the_retry_that_it_sent_gets_the_next_attempt():
    async with rig(waiting()) as r:
        run, job = await planned(r)
        claim = r.engine.runs.claim_step
        assert await claim(run, job, 1, "owner 1", FIRST)
        assert await claim(run, job, 2, "owner 2", AGAIN)
        assert not await claim(run, job, 2, "owner 3", Claimant("m2", succeeds="owner 1"))


async def test_a_message_that_was_not_delivered_before_gets_no_claim_of_another():
    async with rig(waiting()) as r:
        run, job = await planned(r)
        claim = r.engine.runs.claim_step
        assert await claim(run, job, 1, "owner 1", FIRST)
        assert not await claim(run, job, 2, "owner 2", Claimant("m1", succeeds=""))
        assert not await claim(run, job, 2, "owner 2", Claimant("m2", redelivered=True, succeeds=""))


async def test_a_parallel_step_whose_retry_is_due_at_once_is_retried_by_the_worker_that_ran_it():
    """No time passes between its failure and its retry, so the retry is no message of its own."""
    app, bodies = App("a"), list[str]()

    @app.function(id="f", trigger="go", retries=Retries(max_retries=3, first_delay=0))
    async def f(ctx: Context) -> None:
        def flaky() -> None:
            bodies.append("flaky")
            if len(bodies) < 3:
                raise RuntimeError("not yet")

        await asyncio.gather(ctx.step.run("flaky", flaky), ctx.step.sleep("nap", "10m"))
        await ctx.step.run("end", bodies.append, "end")

    async with rig(app) as r:
        await r.send("go")
        assert bodies == ["flaky"] * 3
        await r.clock.advance(601)
        await r.settle()
        assert (await r.only_run())["status"] == "Completed"
        assert bodies == ["flaky"] * 3 + ["end"]
