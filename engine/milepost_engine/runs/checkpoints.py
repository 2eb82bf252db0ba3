"""Steps saved by an invocation that goes on: one conditional write for each, before the next step begins.

A session belongs to one invocation. It reads the run once and then knows it, because a checkpointing invocation is
the only one that moves its run on; if another one did, the next write finds its record standing, and the session is
stale: the invocation must stop.

    this invocation    saves A ── saves B ──────────────── saves C: stands already, by another job: stale, stops
    a second one                      (message came twice) runs C, saves C
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from milepost.errors import CheckpointRefused
from milepost_engine.codec import Json
from milepost_engine.core.inputs import Call, StepsCheckpointed
from milepost_engine.core.machine import advance
from milepost_engine.core.run import Run
from milepost_engine.observe import Observer
from milepost_engine.ports import Clock
from milepost_engine.store.runs import RunStore

from .responses import read_ops

__all__ = ["CheckpointRefusal", "CheckpointSession", "CheckpointWriter", "open_session"]


class CheckpointRefusal(StrEnum):
    """Why steps are not saved; in each case the invocation must stop."""

    GONE = "gone"
    ENDED = "ended"
    STALE = "stale"


@dataclass(slots=True)
class CheckpointSession:
    """Saves the steps of one invocation."""

    run: Run
    runs: RunStore
    clock: Clock
    observer: Observer
    started_at: datetime
    fresh: bool = True
    """Whether the run was read just now."""

    async def save(self, ops: Json) -> CheckpointRefusal | None:
        """Save finished steps; None when they are kept. Raises ValueError for ops that cannot be read."""
        parsed = read_ops(ops)
        if not self.fresh and (refusal := await self._look()) is not None:
            return refusal
        self.fresh = False
        now = self.clock.now()
        job = self.run.discovery_job
        call = Call(job, self.run.attempt_of(job), self.run.order, self.started_at)
        decision = advance(self.run, StepsCheckpointed(call, parsed), now)
        if await self.runs.save(decision) is not None:
            return CheckpointRefusal.STALE
        self.run, self.started_at = decision.run, now
        for record in decision.records:
            self.observer.recorded(decision.run, record)
        return None

    async def _look(self) -> CheckpointRefusal | None:
        """A cancellation takes effect between steps: one small read before each write."""
        liveness = await self.runs.liveness(self.run)
        if liveness is None:
            return CheckpointRefusal.GONE
        if liveness.status.ended:
            return CheckpointRefusal.ENDED
        return CheckpointRefusal.STALE if liveness.owner != self.run.owner else None


async def open_session(
    run_id: str, function_id: str, started_at: datetime, *, runs: RunStore, clock: Clock, observer: Observer
) -> CheckpointSession | CheckpointRefusal:
    """A session for an invocation that began at `started_at`."""
    run = await runs.load(run_id, function_id)
    if run is None:
        return CheckpointRefusal.GONE
    if run.status.ended:
        return CheckpointRefusal.ENDED
    return CheckpointSession(run, runs, clock, observer, started_at)


@dataclass(slots=True)
class CheckpointWriter:
    """What an SDK in the same process hands finished steps to. The session opens with the first of them."""

    open: Callable[[], Awaitable[CheckpointSession | CheckpointRefusal]]
    session: CheckpointSession | None = None
    unsure: bool = False
    """Whether a step may have been saved although its write failed: the answer got lost."""

    async def save(self, ops: Sequence[Mapping[str, object]]) -> None:
        """Save finished steps. Raises CheckpointRefused when the invocation must stop."""
        if self.session is None:
            opened = await self.open()
            if isinstance(opened, CheckpointRefusal):
                raise CheckpointRefused(f"the run is {opened.value}", stale=True)
            self.session = opened
        try:
            refusal = await self.session.save(list(ops))
        except ValueError as error:
            raise CheckpointRefused(str(error), stale=False) from error
        except Exception:
            self.unsure = True
            raise
        if refusal is not None:
            raise CheckpointRefused(f"the run is {refusal.value}", stale=True)
