"""Who may call user code for a discovery: what a claim on a run asks for, and what becomes of those who lose it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.scenarios.rig import Rig, rig

from milepost import App, Context
from milepost_engine.core.commands import Command
from milepost_engine.core.machine import Decision
from milepost_engine.core.run import Plan, Run
from milepost_engine.ports import Changes, Key
from milepost_engine.store.messages import DoJob, encode
from milepost_engine.store.runs import Claimant, ClaimResult

NOTHING: tuple[Command, ...] = ()


def waiting() -> App:
    """A run that sleeps for a day, so that it has an owner and nothing happens to it."""
    app = App("a")

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> None:
        await asyncio.gather(ctx.step.sleep("a", "1d"), ctx.step.sleep("b", "1d"))

    return app


async def only_run(r: Rig) -> Run:
    run = await r.engine.runs.load((await r.only_run())["run_id"], "a-f")
    assert run is not None
    return run


async def header(r: Rig, run: Run) -> dict[str, Any]:
    return dict(await r.store.table.get(Key("F#a-f", run.run_id)) or {})


async def set_in_header(r: Rig, run: Run, **values: Any) -> None:
    await r.store.table.update(Key("F#a-f", run.run_id), Changes(set=values))


# --- what a claim asks for --------------------------------------------------------------------------------------------


async def test_the_successor_of_the_owner_gets_the_claim_and_no_other():
    async with rig(waiting()) as r:
        await r.send("go")
        run = await only_run(r)
        assert await r.engine.runs.claim_run(run, "other", Claimant("m", succeeds="another")) is ClaimResult.LOST
        assert await r.engine.runs.claim_run(run, "next", Claimant("m", succeeds=run.owner)) is ClaimResult.MINE
        assert (await header(r, run))["owner"] == "next"


async def test_nobody_claims_a_run_of_which_it_does_not_know_what_was_planned():
    """A peek has planned something since the claimant read the run: it would call without knowing of that."""
    async with rig(waiting()) as r:
        await r.send("go")
        run = await only_run(r)
        await set_in_header(r, run, turns=len(run.plans) + 1)
        successor = Claimant("m", succeeds=run.owner)
        assert await r.engine.runs.claim_run(run, "next", successor) is ClaimResult.OUTDATED
        await set_in_header(r, run, turns=len(run.plans))
        assert await r.engine.runs.claim_run(run, "next", successor) is ClaimResult.MINE


async def test_nobody_claims_a_run_that_has_ended():
    async with rig(waiting()) as r:
        await r.send("go")
        run = await only_run(r)
        await r.engine.operations.cancel(run.run_id)
        assert await r.engine.runs.claim_run(run, "next", Claimant("m", succeeds=run.owner)) is ClaimResult.LOST


@pytest.mark.parametrize(("redelivered", "result"), [(True, ClaimResult.MINE), (False, ClaimResult.LOST)])
async def test_only_a_redelivered_message_gets_again_what_it_has_claimed(*, redelivered: bool, result: ClaimResult):
    async with rig(waiting()) as r:
        await r.send("go")
        run = await only_run(r)
        assert await r.engine.runs.claim_run(run, "next", Claimant(run.claimed_by, redelivered)) is result
        assert await r.engine.runs.claim_run(run, "x", Claimant("another", redelivered)) is ClaimResult.LOST


# --- calls that are handed over ---------------------------------------------------------------------------------------


async def test_a_call_that_was_handed_over_begins_once_or_is_withdrawn_for_good():
    async with rig(waiting()) as r:
        await r.send("go")
        run, runs = await only_run(r), r.engine.runs
        assert await runs.begin_call(run, "claim 1", "one")
        assert not await runs.begin_call(run, "claim 1", "two")
        assert await runs.begin_call(run, "claim 1", "one"), "its own note, whose writing was not answered"
        assert not await runs.withdraw_call(run, "claim 1")
        assert await runs.withdraw_call(run, "claim 2")
        assert await runs.withdraw_call(run, "claim 2"), "it may come again, after a crash"
        assert not await runs.begin_call(run, "claim 2", "three")


async def test_a_message_for_a_discovery_that_was_recorded_meanwhile_continues_the_run_under_its_claim():
    """The owner sent the message as its successor; before it came, a peek's plan of nothing took its place."""
    app, bodies = App("a"), list[str]()

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("nap", "1m")
        await ctx.step.run("end", bodies.append, "end")

    async with rig(app) as r:
        await r.send("go")
        run = await only_run(r)
        messages: list[str] = []

        async def keep(received: Any) -> None:
            messages.append(received.body)

        await r.clock.advance(61)
        await r.queue.drain(keep)
        (timer,) = messages
        await r.engine.handle(timer, deadline=r.clock.now())
        messages.clear()
        await r.queue.drain(keep)
        (job,) = messages
        run = await only_run(r)
        nothing = Plan(len(run.plans), run.discovery_job, (), (), r.clock.now(), by="a peek")
        after = run.with_record(nothing)
        assert await r.engine.runs.save(Decision(after, (nothing,), NOTHING)) is None
        assert after.discovery_job != run.discovery_job
        stale = encode(DoJob(run.run_id, "a-f", message_id="m", job=run.discovery_job, succeeds="another"))
        await r.engine.handle(stale)
        assert bodies == []
        await r.engine.handle(job)
        await r.settle()
        assert (bodies, (await r.only_run())["status"]) == (["end"], "Completed")


# --- peeks ------------------------------------------------------------------------------------------------------------


def peeked(then: Callable[[Context, Rig], Awaitable[object]], found: list[Rig]) -> App:
    """A function whose peek, once the quick step is closed and the nap is not, does what is given."""
    app = App("a")

    @app.function(id="f", trigger="go", retries=0)
    async def f(ctx: Context) -> object:
        tasks = [
            asyncio.ensure_future(ctx.step.run("quick", str, "done")),
            asyncio.ensure_future(ctx.step.sleep("nap", "1d")),
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return await then(ctx, found[0])

    return app


async def change_hands(ctx: Context, r: Rig) -> None:
    await r.store.table.update(Key("F#a-f", ctx.run_id), Changes(set={"owner": "another"}))


async def records(r: Rig, run: Run, kind: str) -> list[str]:
    page = await r.store.table.query(f"R#{run.run_id}")
    return [str(item["sk"]) for item in page.items if str(item["sk"]).startswith(kind)]


async def test_the_failure_of_a_peek_costs_no_attempt_when_the_run_has_changed_hands_meanwhile():
    async def fails(ctx: Context, r: Rig) -> None:
        await change_hands(ctx, r)
        raise RuntimeError("what it saw is old")

    found: list[Rig] = []
    async with rig(peeked(fails, found)) as r:
        found.append(r)
        await r.send("go")
        await r.wind(2)
        run = await only_run(r)
        assert (run.owner, run.status.value) == ("another", "Running")
        assert await records(r, run, "A#") == []
