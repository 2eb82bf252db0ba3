"""A session saves the steps of the invocation that was made under the run's current claim, and of no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.scenarios.rig import Rig, rig

from milepost import App, Context
from milepost.protocol import hash_step_id
from milepost_engine.ports import Changes, Key
from milepost_engine.runs.checkpoints import CheckpointRefusal, CheckpointSession


@dataclass
class Held:
    """A run whose first step is running: its claim, and the rig."""

    rig: Rig
    run_id: str
    claim: str
    saved: list[Any] = field(default_factory=list)

    async def open(self, claim: str) -> CheckpointSession | CheckpointRefusal:
        return await self.rig.engine.checkpoints(self.run_id, "a-f", claim, self.rig.clock.now())

    async def claimed_by_another(self) -> None:
        await self.rig.store.table.update(Key("F#a-f", self.run_id), Changes(set={"owner": "another"}))

    async def steps(self) -> list[str]:
        run = await self.rig.engine.runs.load(self.run_id, "a-f")
        assert run is not None
        return sorted(step.name for step in run.closed.values())


def op(name: str) -> list[dict[str, object]]:
    return [{"id": hash_step_id(name, 0), "op": "StepRun", "name": name, "displayName": name, "data": 1}]


@asynccontextmanager
async def held() -> AsyncIterator[Held]:
    app = App("a")
    made: list[Held] = []

    @app.function(id="f", trigger="go", mode="checkpoint", retries=0)
    async def f(ctx: Context) -> None:
        run = await r.engine.runs.load(ctx.run_id, "a-f")
        assert run is not None
        made.append(Held(r, ctx.run_id, run.owner))
        await ctx.step.sleep("for long", "1d")

    async with rig(app) as r:
        await r.send("go")
        yield made[0]


async def test_the_holder_of_the_claim_saves_its_steps():
    async with held() as run:
        session = await run.open(run.claim)
        assert isinstance(session, CheckpointSession)
        assert await session.save(op("one")) is None
        assert await session.save(op("two")) is None
        assert await run.steps() == ["one", "two"]


async def test_an_invocation_that_was_made_under_another_claim_gets_no_session():
    async with held() as run:
        for claim in ("another", ""):
            assert await run.open(claim) is CheckpointRefusal.STALE
        assert await run.steps() == []


async def test_a_session_is_stale_from_when_the_run_has_another_owner():
    async with held() as run:
        session = await run.open(run.claim)
        assert isinstance(session, CheckpointSession)
        assert await session.save(op("one")) is None
        await run.claimed_by_another()
        assert await session.save(op("two")) is CheckpointRefusal.STALE
        assert await run.steps() == ["one"]


async def test_a_step_that_another_invocation_saved_makes_a_session_stale():
    async with held() as run:
        first, second = await run.open(run.claim), await run.open(run.claim)
        assert isinstance(first, CheckpointSession)
        assert isinstance(second, CheckpointSession)
        assert await first.save(op("one")) is None
        assert await second.save(op("one")) is CheckpointRefusal.STALE
        assert await run.steps() == ["one"]


async def test_a_step_that_an_earlier_owner_saved_keeps_its_value():
    """The invocation has another value for it, and must not continue with that."""
    async with held() as run:
        first = await run.open(run.claim)
        assert isinstance(first, CheckpointSession)
        assert await first.save(op("one")) is None
        await run.claimed_by_another()
        second = await run.open("another")
        assert isinstance(second, CheckpointSession)
        assert await second.save(op("one")) is CheckpointRefusal.STALE


async def test_a_session_of_a_run_that_is_gone_is_refused():
    async with held() as run:
        session = await run.open(run.claim)
        assert isinstance(session, CheckpointSession)
        assert await session.save(op("one")) is None
        await run.rig.store.table.delete(Key("F#a-f", run.run_id))
        assert await session.save(op("two")) is CheckpointRefusal.GONE
        assert await run.open(run.claim) is CheckpointRefusal.GONE
