"""Actions on runs and events: cancel, replay, erase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from milepost.protocol import hash_step_id
from milepost_engine.codec import Json
from milepost_engine.core.ids import to_ms, ulid
from milepost_engine.core.run import Outcome, Run, StepStatus
from milepost_engine.intake.intake import Intake
from milepost_engine.ports import Clock, RandomSource
from milepost_engine.runs.cancelling import Cancelling
from milepost_engine.store.events import Event, EventProblem, EventStore, check_travels
from milepost_engine.store.manifest import FunctionSpec
from milepost_engine.store.messages import CancelRun
from milepost_engine.store.registry import Registry
from milepost_engine.store.runs import RunStore

from .erasure import Erasure

__all__ = ["OperationError", "Operations", "check_new_data"]


class OperationError(Exception):
    """The action is not possible; `code` is explained in docs/errors.md."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"[{code}] {message}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Operations:
    """The actions that a user can request."""

    runs: RunStore
    events: EventStore
    registry: Registry
    intake: Intake
    cancelling: Cancelling
    erasure: Erasure
    clock: Clock
    random_source: RandomSource

    async def cancel(self, run_id: str, reason: str = "") -> None:
        """Cancel a run: none of its steps starts after this returns."""
        run = await self.check_cancel(run_id)
        await self.cancelling.cancel(CancelRun(run.run_id, run.function_id, outcome=Outcome.API, reason=reason))

    async def check_cancel(self, run_id: str) -> Run:
        """The run; raises what `cancel` would raise now."""
        run = await self._run(run_id)
        if run.status.ended:
            raise OperationError(
                "MP302", f"Run {run_id} has already ended ({run.status.value}); there is nothing to cancel."
            )
        return run

    async def replay(self, run_id: str, *, from_step: str | None = None, data: Mapping[str, Json] | None = None) -> Run:
        """Start a new run that names this one as its origin.

        `from_step` is a step's name or id: results before it are kept; that step and all later ones run again.
        `data` replaces the event's data.
        """
        origin, spec, event = await self.check_replay(run_id)
        now = self.clock.now()
        event = replace(event, ts=min(event.ts, to_ms(now)))
        if data is not None:
            check_new_data(f"replay run {run_id}", event.name, data)
            event = await self._edited(event, data, spec.retention)
        kept = self._kept(origin, from_step) if from_step else ()
        new_id = ulid(to_ms(now), self.random_source.random_bytes(10))
        run = await self.intake.start(spec, event, run_id=new_id, origin=origin, kept=kept)
        assert run is not None  # idempotency does not apply to replays
        return run

    async def check_replay(self, run_id: str) -> tuple[Run, FunctionSpec, Event]:
        """The run, function and event of a replay from the start; raises what `replay` would raise now."""
        origin = await self._run(run_id)
        spec = (await self.registry.snapshot()).functions.get(origin.function_id)
        if spec is None:
            raise OperationError(
                "MP303",
                f"Function {origin.function_id!r} of run {run_id} is not registered; serve its app, then replay.",
            )
        event = await self.events.load(origin.event_ids[0])
        if event is None:
            raise OperationError(
                "MP304", f"The event of run {run_id} was erased or has expired; it cannot be replayed."
            )
        return origin, spec, event

    async def erase(self, run_id: str) -> int:
        """Erase an ended run, and its event if no other run has it; returns the number of items and objects deleted."""
        return await self.erasure.run(_ended(await self._run(run_id)))

    async def erase_event(self, event_id: str, *, with_runs: bool = False) -> int:
        """Erase an event; returns how many items and objects were removed.

        Without `with_runs` its runs stay but can no longer be replayed.
        """
        erased = 0
        if with_runs:
            found = [await self.runs.load(run_id) for run_id in await self.erasure.runs_of(event_id)]
            for run in [_ended(run) for run in found if run is not None]:
                erased += await self.erasure.run(run)
        erased += await self.erasure.event(event_id)
        if not erased:
            raise OperationError("MP306", f"There is no event {event_id}.")
        return erased

    async def _run(self, run_id: str) -> Run:
        run = await self.runs.load(run_id)
        if run is None:
            raise OperationError(
                "MP301", f"There is no run {run_id}; it may have expired. List the runs to see their ids."
            )
        return run

    async def _edited(self, event: Event, data: Mapping[str, Json], retention: timedelta | None) -> Event:
        now = self.clock.now()
        event_id = ulid(to_ms(now), self.random_source.random_bytes(10))
        edited = replace(event, event_id=event_id, client_id=event_id, data=dict(data), received_at=now)
        await self.events.put_listed(edited, retention)
        return edited

    def _kept(self, origin: Run, from_step: str) -> tuple[str, ...]:
        """The steps before the chosen one, in their order; failed ones are not kept."""
        wanted = {from_step, hash_step_id(from_step)}
        steps = [origin.closed[step_id] for step_id in origin.order]
        place = next((n for n, step in enumerate(steps) if {step.step_id, step.name} & wanted), None)
        if place is None:
            unfinished = {t.name for failed in origin.failures.values() for t in failed} | {
                op.name for op in origin.open_ops
            }
            if from_step in unfinished:
                place = len(steps)
            else:
                names = ", ".join(repr(step.name) for step in steps) or "none"
                raise OperationError(
                    "MP307",
                    f"Run {origin.run_id} has no step {from_step!r}. Its finished steps are: {names}.",
                )
        return tuple(step.step_id for step in steps[:place] if step.status is not StepStatus.FAILED)


def check_new_data(what: str, name: str, data: Mapping[str, Json]) -> None:
    """Refuse data that an event could not have. Raises OperationError; `what` is the action in its message."""
    try:
        check_travels({"name": name, "data": data}, name)
    except EventProblem as problem:
        why = str(problem).removeprefix("[MP323] ")
        raise OperationError("MP323", f"Cannot {what} with this data: {why}.") from None


def _ended(run: Run) -> Run:
    """The run, if it may be erased. Raises OperationError while it is live."""
    if not run.status.ended:
        raise OperationError("MP305", f"Run {run.run_id} is still {run.status.value}; cancel it first, then erase it.")
    return run
