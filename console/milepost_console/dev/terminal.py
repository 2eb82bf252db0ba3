"""The dev server's output: one line for each thing that happens to a run, in fixed columns.

    09:14:02.113  shop-fulfil-order         3P9QXA  ✓ charge card                   12 ms
Payloads are printed only with --show-payloads; errors of user code always are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast

from milepost.protocol import DISCOVERY, EventName, Opcode
from milepost_console.printer import Printer, Styled
from milepost_engine.codec import Json, loads, text
from milepost_engine.core.run import (
    BlobRef,
    ClosedStep,
    FailedAttempt,
    OpenOp,
    Plan,
    Record,
    Run,
    RunBegun,
    RunEnded,
    RunStatus,
    StepStatus,
    Stored,
)
from milepost_engine.observe import Silent
from milepost_engine.operations.queries import iso
from milepost_engine.ports import Clock
from milepost_engine.store.events import Event
from milepost_engine.store.skipped import EVERY_FUNCTION

from .event_word import OWN_PREFIX, event_word
from .readable import Readable

__all__ = ["JsonLines", "Lines", "length", "shown_error"]

FUNCTION_WIDTH: Final = 24
STEP_WIDTH: Final = 28
ID_LETTERS: Final = 6
_MAX_PAYLOAD: Final = 2000
_MAX_MESSAGE: Final = 300
_MARK: Final = re.compile(r',"mark":"[0-9a-f]{8}"\}$')
"""What the engine keeps with a step's result for itself."""


def length(span: timedelta) -> str:
    """A duration for people, in two units at most: `12 ms`, `1.4 s`, `3 min 5 s`, `2 days 4 h`."""
    seconds = span.total_seconds()
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    left = round(seconds)
    parts: list[str] = []
    for unit, size in (("day", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}s" if unit == "day" and count > 1 else f"{count} {unit}")
    return " ".join(parts[:2])


def shown_error(error: Mapping[str, Json]) -> str:
    """An error's name and message on one line; the message is cut after 300 characters."""
    message = " ".join(str(error.get("message") or "").split())
    message = message if len(message) <= _MAX_MESSAGE else message[:_MAX_MESSAGE] + "…"
    name = str(error.get("name") or "Error")
    return f"{name}: {message}" if message else name


@dataclass(frozen=True, slots=True)
class Line:
    """A line's content: a sign with its colour, a name, and the rest."""

    sign: str
    style: str
    name: str
    rest: str = ""
    many: bool = False
    """The rest keeps its line breaks."""


_AFTER_TIME: Final = 14
_ASCII: Final = {"✓": "+", "✗": "x", "▸": ">", "■": "#", "◦": ".", "·": ".", "∥": "|", "!": "!"}

_LOG_STYLES: Final = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


class Lines(Silent):
    """An observer that prints lines. `show_payloads` adds the data of events, steps and runs."""

    def __init__(self, printer: Printer, clock: Clock, *, show_payloads: bool = False) -> None:
        self._printer = printer
        self._clock = clock
        self._show_payloads = show_payloads
        self._readable = Readable(clock, self._say_skipped) if printer.is_terminal else None
        """A file takes every line."""

    def event_received(self, event: Event, started: tuple[str, ...], skipped: dict[str, str]) -> None:
        idle = not started and not event.name.startswith(OWN_PREFIX)
        if not (idle or skipped or self._show_payloads) or not self._shows("events"):
            return
        if idle:
            rest = _reasons(skipped) or "no function has a trigger for it"
            self._print(event_word(event.name), event.event_id, Line("◦", "dim", "starts no runs", rest))
        elif skipped:
            self._print(event_word(event.name), event.event_id, Line("◦", "dim", "skips", _reasons(skipped)))
        if self._show_payloads:
            self._payload(event.event_id, text(event.data))

    def run_started(self, run: Run) -> None:
        if not self._shows("runs started"):
            return
        by_hand = run.event_name == EventName.INVOKED and run.parent is None
        rest = "by hand" if by_hand else f"by {event_word(run.event_name)}"
        if run.origin_run_id:
            rest = f"as a replay of {run.origin_run_id}"
        elif run.parent is not None:
            rest = f"by run {run.parent.run_id}"
        elif run.start_at is not None:
            rest += f", to start at {run.start_at:%Y-%m-%d %H:%M:%S}"
        self._print(run.function_id, run.run_id, Line("▸", "cyan", "started", rest))

    def recorded(self, run: Run, record: Record) -> None:
        kind, problem = _kind(record)
        if not self._shows(kind, problem=problem):
            return
        match record:
            case ClosedStep():
                self._print(run.function_id, run.run_id, _closed_line(run, record))
                if self._show_payloads and record.status is StepStatus.COMPLETED:
                    self._payload(run.run_id, _stored_text(record.memo))
            case Plan():
                for line in _plan_lines(record, self._clock.now()):
                    self._print(run.function_id, run.run_id, line)
            case FailedAttempt():
                self._print(run.function_id, run.run_id, _failed_line(run, record))
            case RunEnded():
                self._print(run.function_id, run.run_id, _end_line(run, record))
                if self._show_payloads and record.status is RunStatus.COMPLETED:
                    self._payload(run.run_id, _stored_text(record.output))
            case RunBegun():
                self._print(run.function_id, run.run_id, Line("▸", "cyan", "starts now"))

    def rescued(self, run: Run) -> None:
        line = Line("!", "yellow", "rescued", "its next message was overdue and was sent again")
        self._print(run.function_id, run.run_id, line)

    def say(self, message: str, style: str = "") -> None:
        """Print a line that belongs to no run."""
        self._printer.line(self._now(), Styled(message, style, many=True), indent=_AFTER_TIME)

    def logged(self, level: str, logger: str, message: str, origin: Mapping[str, object]) -> None:
        """Print a log record; with its run, if it has one. Line breaks are kept, indented."""
        style = _LOG_STYLES.get(level, "")
        if not self._shows("log lines", problem=bool(style)):
            return
        if not origin:
            self.say(f"{level.lower():7} {logger}  {message}", style)
            return
        line = Line("·", style, str(origin.get("step") or "(function)"), f"{level.lower()}: {message}", many=True)
        self._print(str(origin.get("function_id", "")), str(origin["run_id"]), line)

    def _shows(self, kind: str, *, problem: bool = False) -> bool:
        return self._readable is None or self._readable.shows(kind, problem=problem)

    def _say_skipped(self, summary: str) -> None:
        self.say(f"… {summary}", "dim")

    def _now(self) -> Styled:
        moment = self._clock.now().astimezone()
        return Styled(f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}", "dim", _AFTER_TIME)

    def _print(self, subject: str, id_: str, line: Line) -> None:
        sign = _ASCII[line.sign] if self._printer.plain else line.sign
        parts: list[Styled | str] = [
            self._now(),
            Styled(subject, "bold", FUNCTION_WIDTH),
            Styled(f"  {id_[-ID_LETTERS:]}  ", "dim"),
            Styled(f"{sign} ", line.style),
            Styled(line.name, line.style, STEP_WIDTH if line.rest else 0),
        ]
        if line.rest:
            parts += ["  ", Styled(line.rest, many=line.many)]
        self._printer.line(*parts, indent=_AFTER_TIME)

    def _payload(self, id_: str, payload: str) -> None:
        cut = payload if len(payload) <= _MAX_PAYLOAD else payload[:_MAX_PAYLOAD] + "…"
        pad = Styled("", width=_AFTER_TIME + FUNCTION_WIDTH + 2)
        self._printer.line(pad, Styled(f"{id_[-ID_LETTERS:]}    {cut}", "dim"))


def _kind(record: Record) -> tuple[str, bool]:
    """How a record is counted where it is not shown, and whether it is a problem."""
    match record:
        case RunEnded():
            return f"runs {record.status.value.lower()}", record.status is RunStatus.FAILED
        case RunBegun():
            return "runs started", False
        case FailedAttempt():
            return "failed attempts", True
        case ClosedStep():
            return "steps", record.status is StepStatus.FAILED
        case Plan():
            return "plans", False


def _reasons(skipped: Mapping[str, str]) -> str:
    return "; ".join(f"{'every function' if name == EVERY_FUNCTION else name}: {why}" for name, why in skipped.items())


def _stored_text(stored: Stored) -> str:
    return (
        f"({stored.size} bytes)" if isinstance(stored, BlobRef) else _MARK.sub("}", stored.decode("utf-8", "replace"))
    )


def _stored_error(stored: Stored) -> str:
    if isinstance(stored, BlobRef):
        return f"an error of {stored.size} bytes; open the run to read it"
    value = loads(stored)
    if not isinstance(value, Mapping):
        return str(value)
    # A step stores `{"error": {…}}`, a run the error itself, whose `error` field is a string.
    inner = value.get("error")
    return shown_error(cast("Mapping[str, Json]", inner if isinstance(inner, Mapping) else value))


def _closed_line(run: Run, step: ClosedStep) -> Line:
    took = length(step.closed_at - step.started_at)
    tries = f"   attempt {step.attempt + 1}" if step.attempt else ""
    match step.kind, step.status:
        case _, StepStatus.VANISHED:
            return Line("!", "yellow", step.name, "was planned, but the current code has no such step")
        case Opcode.SLEEP, _:
            return Line("✓", "green", step.name, f"woke after {_since_plan(run, step)}")
        case Opcode.WAIT_FOR_EVENT, StepStatus.TIMED_OUT:
            return Line("◦", "yellow", step.name, f"no event came within {_since_plan(run, step)}")
        case Opcode.WAIT_FOR_EVENT, _:
            return Line("✓", "green", step.name, f"its event came after {_since_plan(run, step)}")
        case _, StepStatus.FAILED | StepStatus.TIMED_OUT:
            return Line("✗", "red", step.name, f"failed for good{tries}: {_stored_error(step.memo)}")
        case Opcode.INVOKE_FUNCTION, _:
            return Line("✓", "green", step.name, f"the invoked run returned after {_since_plan(run, step)}")
        case _:
            return Line("✓", "green", step.name, f"{took}{tries}")


def _since_plan(run: Run, step: ClosedStep) -> str:
    plan = run.plan_of(step.step_id)
    return length(step.closed_at - (plan.recorded_at if plan else step.started_at))


def _plan_lines(plan: Plan, now: datetime) -> list[Line]:
    steps = [op.name for op in plan.ops if op.kind is Opcode.STEP_PLANNED]
    lines = [Line("∥", "cyan", f"{len(steps)} parallel steps", ", ".join(steps))] if len(steps) > 1 else []
    return lines + [line for op in plan.ops if (line := _open_line(op, now)) is not None]


def _open_line(op: OpenOp, now: datetime) -> Line | None:
    until = f"until {op.due_at.astimezone():%Y-%m-%d %H:%M:%S}" if op.due_at else ""
    match op.kind:
        case Opcode.SLEEP:
            span = length(op.due_at - now) if op.due_at else ""
            return Line("◦", "blue", op.name, f"sleeping {span}, {until}")
        case Opcode.WAIT_FOR_EVENT:
            return Line("◦", "blue", op.name, f"waiting for {event_word(str(op.opts.get('event')))} {until}")
        case Opcode.INVOKE_FUNCTION:
            return Line("◦", "blue", op.name, f"invoking {op.opts.get('function_id')}")
        case _:
            return None


def _failed_line(run: Run, tried: FailedAttempt) -> Line:
    op = run.open_op(tried.step_id) if tried.step_id else None
    most = (op.retries if op is not None and op.retries is not None else run.retries).max_attempts
    name = tried.name or ("(function)" if tried.job.startswith(DISCOVERY) else tried.job)
    wait = length(tried.next_at - tried.ended_at)
    took = length(tried.ended_at - tried.started_at)
    rest = f"attempt {tried.attempt + 1} of {most} failed after {took}, next in {wait}: {shown_error(tried.error)}"
    return Line("✗", "yellow", name, rest)


def _end_line(run: Run, end: RunEnded) -> Line:
    took = length(end.ended_at - run.queued_at)
    match end.status:
        case RunStatus.COMPLETED:
            return Line("■", "bold green", "Completed", took)
        case RunStatus.CANCELLED:
            return Line("■", "bold yellow", "Cancelled", f"{took}   ({end.outcome.value})")
        case _:
            return Line("■", "bold red", end.status.value, f"{took}   {_stored_error(end.output)}")


class JsonLines(Silent):
    """An observer that prints one JSON object per line, for other programs."""

    def __init__(self, printer: Printer, clock: Clock, *, show_payloads: bool = False) -> None:
        self._printer = printer
        self._clock = clock
        self._show_payloads = show_payloads

    def event_received(self, event: Event, started: tuple[str, ...], skipped: dict[str, str]) -> None:
        more = {"data": event.data} if self._show_payloads else {}
        self._print("event", event_id=event.event_id, name=event.name, started=started, skipped=skipped, **more)

    def run_started(self, run: Run) -> None:
        self._run("run started", run, event_name=run.event_name, event_id=run.event_ids[0])

    def recorded(self, run: Run, record: Record) -> None:
        match record:
            case ClosedStep():
                took = (record.closed_at - record.started_at) / timedelta(milliseconds=1)
                more = {"memo": _stored_text(record.memo)} if self._show_payloads else {}
                self._run(
                    "step", run, step=record.name, kind=record.kind.value, status=record.status.value,
                    attempt=record.attempt, duration_ms=round(took), **more,
                )  # fmt: skip
            case Plan():
                planned = [
                    {"step": op.name, "kind": op.kind.value, "due_at": iso(op.due_at) if op.due_at else None}
                    for op in record.ops
                ]
                self._run("plan", run, steps=planned)
            case FailedAttempt():
                self._run(
                    "attempt failed", run, step=record.name or None, attempt=record.attempt,
                    next_at=iso(record.next_at), error=shown_error(record.error),
                )  # fmt: skip
            case RunEnded():
                failed = record.status is RunStatus.FAILED
                self._run(
                    "run ended", run, status=record.status.value, outcome=record.outcome.value,
                    duration_ms=round((record.ended_at - run.queued_at) / timedelta(milliseconds=1)),
                    error=_stored_error(record.output) if failed else None,
                )  # fmt: skip
            case RunBegun():
                self._run("run begun", run)

    def rescued(self, run: Run) -> None:
        self._run("rescued", run)

    def say(self, message: str, style: str = "") -> None:
        """Print a line that belongs to no run."""
        self._print("note", level="error" if "red" in style else "info", message=message)

    def logged(self, level: str, logger: str, message: str, origin: Mapping[str, object]) -> None:
        """Print a log record, with its origin if it belongs to a run."""
        self._print("log", level=level.lower(), logger=logger, message=message, **origin)

    def _run(self, what: str, run: Run, **more: object) -> None:
        self._print(what, function_id=run.function_id, run_id=run.run_id, **more)

    def _print(self, what: str, **fields: object) -> None:
        self._printer.json_text(text({"at": iso(self._clock.now()), "what": what, **fields}))
