"""One run's trace: a span for each step with its attempts, and one for the function where its body failed.

Which attempts of the body are shown
 1. Those that failed and were repeated, whatever steps ran in between: they are records of the run.
 2. The last one, which ended the run: the run's end has its number, its start and its result.
 3. None if no attempt failed: the steps show what ran. None either if the run failed with an uncaught error of a step:
    the step's span shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from milepost.protocol import DISCOVERY, Opcode
from milepost_engine.codec import Json, loads
from milepost_engine.core.run import ClosedStep, FailedAttempt, OpenOp, Run, RunStatus, StepStatus, Stored
from milepost_engine.runs.endings import invoked_run_id
from milepost_engine.store.events import Event
from milepost_engine.store.values import Values
from milepost_engine.store.wait_matching import bind_text

from .times import iso, span_ms

__all__ = ["Traces"]

_KINDS: Final = {
    Opcode.STEP_RUN: "run",
    Opcode.STEP_PLANNED: "run",
    Opcode.SLEEP: "sleep",
    Opcode.WAIT_FOR_EVENT: "wait",
    Opcode.INVOKE_FUNCTION: "invoke",
}
_OPEN: Final = {
    Opcode.SLEEP: "Sleeping",
    Opcode.WAIT_FOR_EVENT: "Waiting",
    Opcode.INVOKE_FUNCTION: "Invoking",
}


@dataclass(frozen=True, slots=True)
class Traces:
    """Builds traces; `values` loads large results."""

    values: Values

    async def result(self, run: Run) -> tuple[Json, Json]:
        """A run's output and its error (or why it was cancelled); at most one of them is set."""
        if run.ended is None:
            return None, None
        value = await self._value(run.ended.output)
        return (value, None) if run.status is RunStatus.COMPLETED else (None, value)

    async def trace(self, run: Run, event: Event | None, result: tuple[Json, Json]) -> list[dict[str, Json]]:
        """Every span, by start time; `event` is the run's first, `result` is what `result()` returned."""
        failures: dict[str, list[FailedAttempt]] = {}
        for attempts in run.failures.values():
            for attempt in attempts:
                failures.setdefault(attempt.step_id, []).append(attempt)
        of_body = sorted(failures.pop("", []), key=lambda attempt: attempt.started_at)
        opened = {step_id: op for step_id, (_, op) in run.view.planned.items()}
        spans = [
            await self._closed_span(run, step, failures.pop(step.step_id, []), opened.get(step.step_id), event)
            for step in run.closed.values()
        ]
        spans += [_open_span(run, op, failures.pop(op.step_id, []), event) for op in run.open_ops]
        spans += [_failing_span(run, step_id, attempt) for step_id, attempt in failures.items()]
        if of_body or (run.status is RunStatus.FAILED and not _came_from_a_step(result[1], spans)):
            spans += _function_spans(run, of_body, *result)
        # Steps that began in the same millisecond are in the order in which they ended.
        places = {step_id: place for place, step_id in enumerate(run.order)}
        return sorted(spans, key=lambda span: (str(span["started_at"]), places.get(str(span["step_id"]), len(places))))

    async def _value(self, stored: Stored) -> Json:
        try:
            return loads(await self.values.load(stored))
        except LookupError as gone:
            return {"gone": str(gone)}

    async def _closed_span(
        self, run: Run, step: ClosedStep, attempts: list[FailedAttempt], op: OpenOp | None, event: Event | None
    ) -> dict[str, Json]:
        memo = await self._value(step.memo)
        output, error = _unwrap(step, memo)
        span = _span(run, step.step_id, step.name, step.kind, step.status.value, attempts, op, event)
        kept = step.job == "kept"
        if step.kind is Opcode.STEP_RUN and not kept:
            status = "Failed" if step.status is StepStatus.FAILED else "Completed"
            _add(span, _attempt(step.attempt, step.started_at, step.closed_at, status, error))
        began = attempts[0].started_at if attempts else step.started_at
        span |= {
            "started_at": iso(began),
            "ended_at": iso(step.closed_at),
            "duration_ms": span_ms(began, step.closed_at),
            "output": output,
            "error": error,
            "kept": kept,
            "detail": dict(step.detail),
        }
        return span


def _open_span(run: Run, op: OpenOp, attempts: list[FailedAttempt], event: Event | None) -> dict[str, Json]:
    plan = run.plan_of(op.step_id)
    status = "Abandoned" if run.status.ended else _OPEN.get(op.kind, "Retrying" if attempts else "Planned")
    span = _span(run, op.step_id, op.name, op.kind, status, attempts, op, event)
    began = plan.recorded_at if plan else run.queued_at
    return span | {"started_at": iso(began), "next_try_at": iso(attempts[-1].next_at) if attempts else None}


def _failing_span(run: Run, step_id: str, attempts: list[FailedAttempt]) -> dict[str, Json]:
    """A step that a discovery ran and that has no result yet."""
    status = "Abandoned" if run.status.ended else "Retrying"
    span = _span(run, step_id, attempts[-1].name, Opcode.STEP_RUN, status, attempts, None, None)
    return span | {
        "started_at": iso(attempts[0].started_at),
        "next_try_at": None if run.status.ended else iso(attempts[-1].next_at),
        "error": dict(attempts[-1].error),
    }


def _came_from_a_step(error: Json, spans: Sequence[Mapping[str, Json]]) -> bool:
    """Whether the run failed with the error of a step, which the body did not catch."""
    closed = [span for span in spans if span["status"] in ("Failed", "TimedOut")]
    return any(_identity(span["error"]) == _identity(error) for span in closed)


def _identity(error: Json) -> tuple[Json, Json]:
    return (error.get("name"), error.get("message")) if isinstance(error, Mapping) else (None, error)


def _function_spans(run: Run, attempts: list[FailedAttempt], output: Json, error: Json) -> list[dict[str, Json]]:
    """The span of the body: its failed attempts and the one that ended the run; none if nothing is known about them."""
    ended = run.ended
    # If the run has advanced past the job that failed, that job is not retried.
    failing = bool(attempts) and attempts[-1].job == run.discovery_job
    status = run.status.value if ended else "Retrying" if failing else "Running"
    span = _span(run, DISCOVERY, "(function)", Opcode.NONE, status, attempts, None, None)
    last = ended.started_at if ended else None
    began = attempts[0].started_at if attempts else last
    if began is None:
        return []
    if ended is not None and last is not None:
        _add(span, _attempt(ended.attempt, last, ended.ended_at, status, error))
    elif failing:
        # It is retried, or was cancelled meanwhile: the run was not ended by an error of its body.
        error = dict(attempts[-1].error)
    else:
        error = None
    span |= {"started_at": iso(began), "output": output, "error": error}
    if ended is not None:
        span |= {"ended_at": iso(ended.ended_at), "duration_ms": span_ms(began, ended.ended_at)}
    elif failing:
        span["next_try_at"] = iso(attempts[-1].next_at)
    return [span]


def _span(
    run: Run,
    step_id: str,
    name: str,
    kind: Opcode,
    status: str,
    attempts: list[FailedAttempt],
    op: OpenOp | None,
    event: Event | None,
) -> dict[str, Json]:
    span: dict[str, Json] = {
        "step_id": step_id,
        "name": name,
        "kind": _KINDS.get(kind, "function"),
        "status": status,
        "started_at": None,
        "ended_at": None,
        "duration_ms": None,
        "due_at": iso(op.due_at) if op else None,
        "next_try_at": None,
        "attempts": [
            _attempt(t.attempt, t.started_at, t.ended_at, "Failed", dict(t.error)) | {"next_at": iso(t.next_at)}
            for t in attempts
        ],
        "output": None,
        "error": None,
        "turn": plan.turn if (plan := run.plan_of(step_id)) else None,
    }
    if op is not None and op.kind is Opcode.WAIT_FOR_EVENT:
        written = str(op.opts.get("if") or "")
        bound = bind_text(written, event.wire()) if event else written
        span["wait"] = {"event": op.opts.get("event"), "expression": written, "matches_when": bound}
    if op is not None and op.kind is Opcode.INVOKE_FUNCTION:
        payload = op.opts.get("payload")
        data = payload.get("data") if isinstance(payload, Mapping) else None
        child = invoked_run_id(run, step_id, plan.recorded_at) if plan else None
        span["invoke"] = {"function_id": op.opts.get("function_id"), "data": data, "run_id": child}
    return span


def _add(span: Mapping[str, Json], attempt: Json) -> None:
    cast("list[Json]", span["attempts"]).append(attempt)


def _attempt(number: int, began: datetime, ended: datetime, status: str, error: Json) -> dict[str, Json]:
    return {
        "attempt": number,
        "started_at": iso(began),
        "ended_at": iso(ended),
        "duration_ms": span_ms(began, ended),
        "status": status,
        "error": error,
    }


def _unwrap(step: ClosedStep, memo: Json) -> tuple[Json, Json]:
    if isinstance(memo, Mapping) and step.kind is not Opcode.WAIT_FOR_EVENT:
        if "error" in memo and step.status is not StepStatus.COMPLETED:
            return None, memo["error"]
        if "data" in memo:
            return memo["data"], None
    return memo, None
