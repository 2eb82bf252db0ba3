"""Metrics (in EMF) and log lines of the engine's Lambdas. Payloads are never logged.

Metrics have the dimensions `service`, and `service` with `function_id`. There are no other dimensions, because each
combination is billed as a separate metric. A completed run logs one line; a failed run also logs its error and event.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from milepost.protocol import Opcode, Request, Response
from milepost_engine.adapters.aws.invoke_lambda import LambdaInvoker
from milepost_engine.core.inputs import Call
from milepost_engine.core.run import ClosedStep, FailedAttempt, Record, Run, RunEnded, RunStatus
from milepost_engine.ports import InvocationProblem, ProblemKind, Target
from milepost_engine.store.events import Event

__all__ = ["CountingInvoker", "MetricName", "Metrics", "logger"]

logger: Final = Logger()

_NAMESPACE: Final = "Milepost"
_MOST_VALUES: Final = 90
"""CloudWatch accepts up to 100 values of a metric per line."""
_WAITING: Final = frozenset({Opcode.SLEEP, Opcode.WAIT_FOR_EVENT, Opcode.INVOKE_FUNCTION})


class MetricName:
    """Names of the metrics; `milepost_infra.names` has the same."""

    RUNS_STARTED: Final = "RunsStarted"
    RUNS_COMPLETED: Final = "RunsCompleted"
    RUNS_FAILED: Final = "RunsFailed"
    RUNS_CANCELLED: Final = "RunsCancelled"
    RUNS_RESCUED: Final = "RunsRescued"
    STEP_RETRIES: Final = "StepRetries"
    STEP_LATENCY: Final = "StepLatency"
    FIRST_STEP_DELAY: Final = "FirstStepDelay"
    INVOCATIONS_THROTTLED: Final = "InvocationsThrottled"
    EVENTS_REFUSED: Final = "EventsRefused"
    MESSAGES_FAILED: Final = "MessagesFailed"


_ENDS: Final = {
    RunStatus.COMPLETED: MetricName.RUNS_COMPLETED,
    RunStatus.FAILED: MetricName.RUNS_FAILED,
    RunStatus.CANCELLED: MetricName.RUNS_CANCELLED,
}
_IN_MILLISECONDS: Final = frozenset({MetricName.STEP_LATENCY, MetricName.FIRST_STEP_DELAY})


class Metrics:
    """Implements the engine's Observer; `flush` writes an invocation's metrics, with the stack's name as `service`."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._values: dict[tuple[str, str], list[float]] = {}

    # --- observer -------------------------------------------------------------------------------------------------

    def event_received(
        self,
        event: Event,
        started: tuple[str, ...],  # noqa: ARG002 - run_started covers each
        skipped: Mapping[str, str],
    ) -> None:
        """Logs functions that the event did not start, with the reason."""
        if skipped:
            logger.info(
                "functions skipped",
                extra={"event_id": event.event_id, "event_name": event.name, "why": dict(skipped)},
            )

    def run_started(self, run: Run) -> None:
        """A run was created."""
        self.count(MetricName.RUNS_STARTED, run.function_id)

    def invoked(self, run: Run, call: Call) -> None:
        """At a run's first call, measures how long its event waited."""
        if not run.discovered and call.attempt == 0 and not call.order:
            self._add(
                MetricName.FIRST_STEP_DELAY, run.function_id, _ms(call.started_at - (run.start_at or run.queued_at))
            )

    def recorded(self, run: Run, record: Record) -> None:
        """A record was saved."""
        match record:
            case ClosedStep() if record.kind not in _WAITING:
                self._add(MetricName.STEP_LATENCY, run.function_id, _ms(record.closed_at - record.started_at))
            case FailedAttempt():
                self._failed(run, record)
            case RunEnded():
                self._ended(run, record)
            case _:
                pass

    def rescued(self, run: Run) -> None:
        """The sweeper requested overdue work again."""
        self.count(MetricName.RUNS_RESCUED, run.function_id)
        logger.warning("run rescued: its next step was overdue", extra=_ids(run))

    def throttled(self, problem: InvocationProblem, function_id: str) -> None:
        """An invocation failed; counted if Lambda throttled it."""
        if problem.kind == ProblemKind.THROTTLED:
            self.count(MetricName.INVOCATIONS_THROTTLED, function_id)

    # --- metrics --------------------------------------------------------------------------------------------------

    def count(self, name: str, function_id: str = "") -> None:
        """Add one; without a function, to the total only."""
        self._add(name, function_id, 1.0)

    def flush(self) -> None:
        """Write the collected metrics: a line for each function."""
        values, self._values = self._values, {}
        lines: dict[str, list[tuple[str, list[float]]]] = {}
        for (function_id, name), numbers in values.items():
            lines.setdefault(function_id, []).append((name, numbers))
        for function_id, metrics in lines.items():
            _write(self._service, function_id, metrics)

    def _add(self, name: str, function_id: str, value: float) -> None:
        numbers = self._values.setdefault((function_id, name), [])
        if name not in _IN_MILLISECONDS and numbers:
            numbers[0] += value
        else:
            numbers.append(value)

    # --- log lines ------------------------------------------------------------------------------------------------

    def _failed(self, run: Run, tried: FailedAttempt) -> None:
        self.count(MetricName.STEP_RETRIES, run.function_id)
        logger.warning(
            "attempt failed",
            extra={
                **_ids(run),
                "step": tried.name or tried.job,
                "attempt": tried.attempt,
                "error": _without_data(tried.error),
                "next_at": tried.next_at.isoformat(),
            },
        )

    def _ended(self, run: Run, ended: RunEnded) -> None:
        self.count(_ENDS[ended.status], run.function_id)
        took = _ms(ended.ended_at - (run.start_at or run.queued_at))
        fields: dict[str, object] = {**_ids(run), "took_ms": took, "steps": len(run.closed), **_slowest(run)}
        if ended.status is RunStatus.COMPLETED:
            logger.info("run completed", extra=fields)
        elif ended.status is RunStatus.CANCELLED:
            logger.info("run cancelled", extra={**fields, "outcome": ended.outcome.value})
        else:
            logger.error(
                "run failed",
                extra={
                    **fields,
                    "event_id": run.event_ids[0],
                    "event_name": run.event_name,
                    "outcome": ended.outcome.value,
                    "attempt": ended.attempt,
                    "error": _error_in(ended),
                },
            )


class CountingInvoker:
    """Calls apps through Lambda, waiting or handing over, and counts throttled calls."""

    def __init__(self, inner: LambdaInvoker, metrics: Metrics) -> None:
        self._inner = inner
        self._metrics = metrics

    async def invoke(self, target: Target, request: Request) -> Response:
        """See `Invoker`."""
        with self._counting(request):
            return await self._inner.invoke(target, request)

    async def hand_over(self, target: Target, request: Request, token: Mapping[str, object]) -> None:
        """See `Handover`."""
        with self._counting(request):
            await self._inner.hand_over(target, request, token)

    @contextmanager
    def _counting(self, request: Request) -> Iterator[None]:
        try:
            yield
        except InvocationProblem as problem:
            self._metrics.throttled(problem, request.query.get("fnId", ""))
            raise


def _write(service: str, function_id: str, metrics: list[tuple[str, list[float]]]) -> None:
    most = max(len(numbers) for _, numbers in metrics)
    for start in range(0, most, _MOST_VALUES):
        line = EphemeralMetrics(namespace=_NAMESPACE, service=service)
        if function_id:
            line.add_dimensions(function_id=function_id, service=service)
        for name, numbers in metrics:
            unit = MetricUnit.Milliseconds if name in _IN_MILLISECONDS else MetricUnit.Count
            for number in numbers[start : start + _MOST_VALUES]:
                line.add_metric(name, unit, number)
        line.flush_metrics()


def _ids(run: Run) -> dict[str, object]:
    return {"function_id": run.function_id, "run_id": run.run_id}


def _slowest(run: Run) -> dict[str, object]:
    steps = [step for step in run.closed.values() if step.kind not in _WAITING]
    if not steps:
        return {}
    slowest = max(steps, key=lambda step: step.closed_at - step.started_at)
    return {"slowest_step": slowest.name, "slowest_step_ms": _ms(slowest.closed_at - slowest.started_at)}


def _without_data(error: Mapping[str, Any]) -> dict[str, object]:
    """The error without its data, which may be a payload and stays in the table."""
    return {key: error[key] for key in ("name", "message", "stack", "code") if error.get(key)}


def _error_in(ended: RunEnded) -> object:
    if not isinstance(ended.output, bytes):
        return {"message": "the error is too large for a log line; open the run to read it"}
    try:
        output = json.loads(ended.output)
    except ValueError:
        return None
    nested = output.get("error") if isinstance(output, dict) else None
    error = nested if isinstance(nested, dict) else output
    return _without_data(error) if isinstance(error, dict) else str(error)


def _ms(span: timedelta) -> float:
    return round(span / timedelta(milliseconds=1), 1)
