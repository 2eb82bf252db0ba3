"""Steps saved by an invocation that continues: one conditional write for each, before the next step begins.

A session belongs to one invocation, and to the claim under which that was made. It reads the run once and then knows
it, because a checkpointing invocation is the only one that moves its run on. Whoever claims the run makes the session
stale: its invocation must stop.

    first invocation    runs A ──────────────────────────────── saves A: the run has another owner: stale, stops
    second one                (message delivered again: claims) runs A, saves A ── …

What an answer is checked for, a checkpoint is checked for by the same functions: `read_ops`, and the machine's limits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from milepost.errors import CheckpointRefused
from milepost_engine.codec import Json
from milepost_engine.core.inputs import Call, ReportedOp, StepsCheckpointed
from milepost_engine.core.machine import advance
from milepost_engine.core.run import ClosedStep, Run, RunStatus, changed
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
    """Saves the steps of one invocation, which was made under the claim `owner`."""

    run: Run
    owner: str
    runs: RunStore
    clock: Clock
    observer: Observer
    started_at: datetime
    fresh: bool = True
    """Whether the run was read just now, alive and under the session's claim."""

    async def save(self, ops: Json) -> CheckpointRefusal | None:
        """Save finished steps; None when they are kept. Raises ValueError for ops that cannot be read.

        A step that finished while the run was ended is kept, too; then the invocation must stop.
        """
        parsed = read_ops(ops)
        refusal = await self._check(parsed)
        if refusal not in {None, CheckpointRefusal.ENDED}:
            return refusal
        now, job = self.clock.now(), self.run.discovery_job
        call = Call(job, self.run.attempt_of(job), self.run.order, self.started_at)
        decision = advance(self.run, StepsCheckpointed(call, parsed), now, by=self.owner)
        if refusal is not None:
            steps = tuple(record for record in decision.records if isinstance(record, ClosedStep))
            await self.runs.save(replace(decision, records=steps))
            return refusal
        if await self.runs.save(decision, owner=self.owner) is not None:
            return CheckpointRefusal.STALE
        self.run, self.started_at = decision.run, now
        for record in decision.records:
            self.observer.recorded(decision.run, record)
        return CheckpointRefusal.ENDED if decision.run.status.ended else None

    async def _check(self, ops: Sequence[ReportedOp]) -> CheckpointRefusal | None:
        """Whether the invocation still has the run: one small read before each write.

        A step that it did not save itself was closed by another invocation, whose value is the one that counts.
        """
        known = (self.run.closed.get(op.step_id) for op in ops)
        if any(step is not None and step.by != self.owner for step in known):
            return CheckpointRefusal.STALE
        if self.fresh:
            self.fresh = False
            return None
        liveness = await self.runs.liveness(self.run)
        if liveness is None:
            return CheckpointRefusal.GONE
        return CheckpointRefusal.STALE if liveness.owner != self.owner else _ended(liveness.status)


def _ended(status: RunStatus) -> CheckpointRefusal | None:
    return CheckpointRefusal.ENDED if status.ended else None


async def open_session(
    run_id: str,
    function_id: str,
    claim: str,
    started_at: datetime,
    *,
    runs: RunStore,
    clock: Clock,
    observer: Observer,
) -> CheckpointSession | CheckpointRefusal:
    """A session for an invocation that began at `started_at`, under a claim on its run."""
    run = await runs.load(run_id, function_id)
    if run is None:
        return CheckpointRefusal.GONE
    if run.owner != claim:
        return CheckpointRefusal.STALE
    # The end may have come while the first step ran: what has finished is kept all the same.
    return CheckpointSession(_as_it_ran(run), claim, runs, clock, observer, started_at, fresh=not run.status.ended)


def _as_it_ran(run: Run) -> Run:
    """The run as its invocation knows it: running."""
    return changed(run, status=RunStatus.RUNNING, ended=None) if run.status.ended else run


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
