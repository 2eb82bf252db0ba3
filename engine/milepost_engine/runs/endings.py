"""The ends of runs and the invokes between them: notifying a parent, publishing the events, closing waits.

All of it may be repeated: a child's id follows from its parent's step, an event's id from its run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, cast

from milepost.protocol import EventName, Opcode
from milepost_engine.codec import Json, loads
from milepost_engine.core.ids import derived_ulid, to_ms
from milepost_engine.core.inputs import CancelRequested, ChildFinished
from milepost_engine.core.opcodes import cancelled_with_parent, error_memo
from milepost_engine.core.run import OpenOp, Outcome, Parent, Run, RunStatus
from milepost_engine.ports import Clock
from milepost_engine.store.events import Event, EventStore
from milepost_engine.store.manifest import FunctionSpec, too_long_a_chain
from milepost_engine.store.messages import CancelRun, ChildEnded, MessageSender, StartRun, StepRefused
from milepost_engine.store.registry import Registry
from milepost_engine.store.runs import RunStore
from milepost_engine.store.values import Values
from milepost_engine.store.wait_matching import CANCEL, WaitIndex, bind_text

from .cancelling import Cancelling

__all__ = ["Endings", "Starter", "ending_event_ids", "invoked_run_id"]

_NO_ECHO: Final = frozenset({EventName.FAILED.value, EventName.FINISHED.value})
"""Runs started by these publish nothing at their end, so that no chain is endless (protocol §2.11)."""

_PUBLISHED: Final = {RunStatus.FAILED: EventName.FAILED, RunStatus.CANCELLED: EventName.CANCELLED}


class Starter(Protocol):
    """Starts runs and takes events in; the intake does."""

    async def start(
        self, spec: FunctionSpec, event: Event, *, run_id: str | None = None, parent: Parent | None = None
    ) -> Run | None: ...

    async def take(self, event: Event, *, redelivered: bool = False) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Endings:
    """See the module."""

    runs: RunStore
    events: EventStore
    registry: Registry
    waits: WaitIndex
    values: Values
    sender: MessageSender
    starter: Starter
    cancelling: Cancelling
    clock: Clock

    async def invoke(self, parent: Run, op: OpenOp) -> None:
        """Start the run that an invoke asks for; if it cannot start, the parent is notified at once."""
        function_id = str(op.opts["function_id"])
        spec = (await self.registry.snapshot()).functions.get(function_id)
        if spec is None:
            await self._refuse(parent, op, f"could not find function with ID: {function_id}")
            return
        event = self._invoked(parent, op, spec)
        if why := too_long_a_chain(spec, event.chain):
            await self._refuse(parent, op, f"function {function_id} was not started: {why}")
            return
        await self.events.put_listed(event, spec.retention)
        run_id = self._child_id(parent, op)
        origin = Parent(parent.run_id, op.step_id, parent.function_id, cancelled_with_parent(op))
        run = await self.starter.start(spec, event, run_id=run_id, parent=origin)
        if run is None:
            await self._refuse(
                parent, op, f"the idempotency key of function {function_id} was already used in the last 24 hours"
            )

    async def invoke_again(self, parent: Run, op: OpenOp) -> None:
        """Send the message of an invoked run once more, if the run was created and lives."""
        function_id = str(op.opts["function_id"])
        run_id = self._child_id(parent, op)
        status = await self.runs.status_of(run_id, function_id)
        if status is not None and not status.ended:
            await self.sender.send(StartRun(run_id, function_id, again=True))

    async def _refuse(self, parent: Run, op: OpenOp, message: str) -> None:
        error: dict[str, Json] = {"name": "Error", "message": message}
        await self.sender.send(StepRefused(parent.run_id, parent.function_id, step_id=op.step_id, error=error))

    def _invoked(self, parent: Run, op: OpenOp, spec: FunctionSpec) -> Event:
        payload = op.opts.get("payload")
        given = payload.get("data") if isinstance(payload, Mapping) else None
        data = dict(cast("Mapping[str, Json]", given)) if isinstance(given, Mapping) else {}
        at = self._planned_at(parent, op)
        if not spec.ours:
            data["_inngest"] = _correlation(parent, op, spec)
        event_id = derived_ulid(to_ms(at), parent.run_id, op.step_id, "invoked")
        return Event(event_id, event_id, EventName.INVOKED.value, data, to_ms(at), at, {}, parent.chain_at(at) + 1)

    def _child_id(self, parent: Run, op: OpenOp) -> str:
        return invoked_run_id(parent, op.step_id, self._planned_at(parent, op))

    def _planned_at(self, parent: Run, op: OpenOp) -> datetime:
        plan = parent.plan_of(op.step_id)
        return plan.recorded_at if plan else self.clock.now()

    async def result_for(self, step_id: str, child: Run) -> ChildFinished | None:
        """What an ended run means to the step that invoked it."""
        if child.ended is None:
            return None
        output = await self.values.load(child.ended.output)
        if child.status is RunStatus.COMPLETED:
            return ChildFinished(step_id, b'{"data":' + output + b"}", failed=False, child_run_id=child.run_id)
        return ChildFinished(step_id, error_memo(_error_of(child, output)), failed=True, child_run_id=child.run_id)

    async def finish(self, run: Run) -> None:
        """Everything that the end of a run brings with it."""
        await self.close_waits(run)
        if run.status is RunStatus.CANCELLED:
            await self._cancel_children(run)
        if run.parent is not None:
            await self.sender.send(
                ChildEnded(
                    run.parent.run_id,
                    run.parent.function_id,
                    step_id=run.parent.step_id,
                    child_run_id=run.run_id,
                    child_function_id=run.function_id,
                )
            )
        await self._publish(run)

    async def _cancel_children(self, run: Run) -> None:
        """Cancel the runs that a cancelled run waits for.

        The records are read again, after the end was written: whoever ended the run may have read them before another
        worker planned the invoke. What is planned later is found by nobody here, but by the child, when it starts:
            cancel   reads the records ────────────────── writes the end ── reads the records again
            parent                      plans the invoke, creates the child
        or
            cancel   writes the end ── reads the records again
            parent                                             plans the invoke, creates the child
            child                                                                                  reads the parent
        """
        run = await self.runs.load(run.run_id, run.function_id) or run
        messages = [
            CancelRun(
                self._child_id(run, op),
                str(op.opts["function_id"]),
                outcome=Outcome.PARENT,
                reason=run.run_id,
            )
            for op in run.open_ops
            if op.kind is Opcode.INVOKE_FUNCTION and cancelled_with_parent(op)
        ]
        if messages:
            await self.cancelling.cancel(*messages)

    async def cancelled_parent(self, run: Run) -> CancelRequested | None:
        """The cancellation of a run whose parent was cancelled before it started."""
        if run.parent is None or not run.parent.cancels or run.discovered:
            return None
        if await self.runs.status_of(run.parent.run_id, run.parent.function_id) is not RunStatus.CANCELLED:
            return None
        return CancelRequested(Outcome.PARENT, run.parent.run_id)

    async def close_waits(self, run: Run) -> None:
        """Take a run out of the index of waits and cancellations."""
        open_waits = [op for _, op in run.view.planned.values() if op.kind is Opcode.WAIT_FOR_EVENT]
        if open_waits:
            event = await self.events.load(run.event_ids[0])
            trigger = event.wire() if event else {}
            for op in open_waits:
                text = bind_text(str(op.opts.get("if") or ""), trigger)
                await self.waits.close(run, event=str(op.opts["event"]), expression=text, step_id=op.step_id)
        for place, cancel in enumerate(run.cancel_on):
            await self.waits.close(run, event=cancel.event, expression=cancel.expression, step_id=f"{CANCEL}{place}")

    async def _publish(self, run: Run) -> None:
        if run.ended is None or run.event_name in _NO_ECHO:
            return
        names = [EventName.FINISHED, *([_PUBLISHED[run.status]] if run.status in _PUBLISHED else [])]
        snapshot = await self.registry.snapshot()
        for name in names:
            # An event that nobody listens for would cost a write for each run.
            if snapshot.listens(name.value) or await self.waits.is_awaited(name.value):
                # It may have been processed before, and that attempt may have stopped half-way.
                await self.starter.take(await self._ending_event(run, name), redelivered=True)

    async def _ending_event(self, run: Run, name: EventName) -> Event:
        assert run.ended is not None
        trigger = await self.events.load(run.event_ids[0])
        event = trigger.wire() if trigger else {"id": run.event_ids[0], "name": run.event_name, "data": {}}
        output = loads(await self.values.load(run.ended.output))
        data: dict[str, Json] = {
            "_inngest": {"status": run.status.value},
            "function_id": run.function_id,
            "run_id": run.run_id,
            "event": event,
            "events": [event],
        }
        if run.status is RunStatus.CANCELLED:
            data["reason"] = output
        else:
            data["result"] = output
        if run.status is RunStatus.FAILED:
            data["error"] = _error_of(run, await self.values.load(run.ended.output))
        if run.parent is not None:
            data["correlation_id"] = f"{run.parent.run_id}.{run.parent.step_id}"
        at = run.ended.ended_at
        own = _ending_event_id(run.run_id, at, name)
        client_id = own if name is EventName.FINISHED else run.run_id
        return Event(own, client_id, name.value, data, to_ms(at), at, {}, run.chain_at(at) + 1)


def _correlation(parent: Run, op: OpenOp, spec: FunctionSpec) -> dict[str, Json]:
    """What other SDKs of the protocol find in the data of an invoked function (protocol §2.11)."""
    return {
        "fn_id": spec.function_id,
        "correlation_id": f"{parent.run_id}.{op.step_id}",
        "expire": to_ms(op.due_at) if op.due_at else 0,
        "name": op.name,
        "source_app_id": parent.app_id,
        "source_fn_id": parent.function_id,
    }


def invoked_run_id(parent: Run, step_id: str, planned_at: datetime) -> str:
    """The id of the run that an invoke starts; it follows from where and when it was planned."""
    return derived_ulid(to_ms(planned_at), parent.run_id, step_id)


def ending_event_ids(run: Run) -> list[str]:
    """The ids of the events that were published at a run's end."""
    if run.ended is None:
        return []
    names = (EventName.FINISHED, *_PUBLISHED.values())
    return [_ending_event_id(run.run_id, run.ended.ended_at, name) for name in names]


def _ending_event_id(run_id: str, ended_at: datetime, name: EventName) -> str:
    return derived_ulid(to_ms(ended_at), run_id, name.value)


def _error_of(run: Run, output: bytes) -> dict[str, Json]:
    """The error of a failed or cancelled run: the keys that every SDK reads, and its data and cause if it has them."""
    if run.status is RunStatus.CANCELLED:
        outcome = run.ended.outcome if run.ended else Outcome.API
        message = f"the invoked run was cancelled ({outcome.value})"
        return {"error": "Cancelled", "name": "Cancelled", "message": message, "stack": ""}
    value = loads(output)
    error = value if isinstance(value, Mapping) else {}
    name = str(error.get("name", "Error"))
    return {
        "error": str(error.get("error", name)),
        "name": name,
        "message": str(error.get("message", "")),
        "stack": str(error.get("stack", "")),
        **{key: error[key] for key in ("data", "cause") if key in error},
    }
