"""The run: its header and the records that are only ever added to it, with the questions one can ask of them.

A run is a header and three kinds of records, each written once and never changed:
- `Plan`: one discovery found open work (steps to run, sleeps, waits, invokes) – or found that there is none new;
- `ClosedStep`: a step has its result for good;
- `FailedAttempt`: one try failed and another follows.
What the run waits for is derived from these alone; nothing else is remembered.

Laws: no I/O, no clock, no chance. Every record is decided by `machine.py` and stored by `store.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from itertools import chain
from typing import Final

from milepost.protocol import DISCOVERY, Opcode

from .retries import DEFAULT_RETRIES, RetryPolicy

__all__ = [
    "BlobRef",
    "CancelOn",
    "ClosedStep",
    "FailedAttempt",
    "Json",
    "OpenOp",
    "Outcome",
    "Parent",
    "Plan",
    "Record",
    "Run",
    "RunBegun",
    "RunEnded",
    "RunStatus",
    "StepStatus",
    "Stored",
]

Json = object
"""A JSON value that is only carried."""


class RunStatus(StrEnum):
    QUEUED = "Queued"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def ended(self) -> bool:
        return self not in _LIVE


_LIVE: Final = frozenset({RunStatus.QUEUED, RunStatus.RUNNING})


class StepStatus(StrEnum):
    COMPLETED = "Completed"
    FAILED = "Failed"
    TIMED_OUT = "TimedOut"
    VANISHED = "Vanished"
    """Planned, but the code that was called later has no such step; its result is nobody's."""


@dataclass(frozen=True, slots=True)
class BlobRef:
    """Where a large value lies."""

    key: str
    size: int


Stored = bytes | BlobRef
"""JSON text, here or in a blob."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The run and step that invoked this run and wait for its result."""

    run_id: str
    step_id: str


@dataclass(frozen=True, slots=True)
class CancelOn:
    """An event that cancels the run; `expression` as bound to the trigger event, or empty."""

    event: str
    expression: str = ""


@dataclass(frozen=True, slots=True)
class OpenOp:
    """One piece of open work of a plan.

    `due_at` is the end of a sleep, or the time-out of a wait or invoke. `opts` is what the SDK sent.
    """

    step_id: str
    kind: Opcode
    name: str
    due_at: datetime | None = None
    opts: Mapping[str, Json] = field(default_factory=dict)
    retries: RetryPolicy | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What the discovery `job` found. `order` are the closed steps it had seen, in the order it saw them."""

    turn: int
    job: str
    order: tuple[str, ...]
    ops: tuple[OpenOp, ...]
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class ClosedStep:
    """A step with its result for good. `memo` is the JSON that the SDK gets back (protocol §2.6).

    `seq` orders steps closed after the last plan: one more than the number of steps that its job had seen.
    """

    step_id: str
    kind: Opcode
    name: str
    status: StepStatus
    memo: Stored
    seq: int
    job: str
    attempt: int
    started_at: datetime
    closed_at: datetime
    detail: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A try of a job (a discovery, or one planned step) that failed and will be repeated at `next_at`."""

    job: str
    attempt: int
    step_id: str
    name: str
    error: Mapping[str, Json]
    started_at: datetime
    ended_at: datetime
    next_at: datetime


class Outcome(StrEnum):
    """Why a run ended; finer than its status."""

    RETURNED = "returned"
    ERROR = "error"
    EVENT = "event"
    API = "api"
    START_TIMEOUT = "start timeout"
    FINISH_TIMEOUT = "finish timeout"


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The end of a run; status and output become visible together."""

    status: RunStatus
    outcome: Outcome
    output: Stored
    ended_at: datetime
    attempt: int = 0
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunBegun:
    """A delayed run's moment has come."""

    started_at: datetime


Record = Plan | ClosedStep | FailedAttempt | RunEnded | RunBegun


@dataclass(frozen=True, slots=True)
class Run:
    run_id: str
    app_id: str
    function_id: str
    status: RunStatus
    event_ids: tuple[str, ...]
    event_name: str
    queued_at: datetime
    app_version: str = ""
    start_at: datetime | None = None
    started_at: datetime | None = None
    start_by: datetime | None = None
    finish_by: datetime | None = None
    ended: RunEnded | None = None
    retries: RetryPolicy = DEFAULT_RETRIES
    step_limit: int = 1000
    peeks: bool = False
    checkpoint: bool = False
    parent: Parent | None = None
    origin_run_id: str = ""
    owner: str = ""
    cancel_on: tuple[CancelOn, ...] = ()
    target: Mapping[str, Json] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    closed: Mapping[str, ClosedStep] = field(default_factory=dict)
    plans: tuple[Plan, ...] = ()
    failures: Mapping[str, tuple[FailedAttempt, ...]] = field(default_factory=dict)

    def with_record(self, record: Record) -> Run:
        """The run after one more record."""
        match record:
            case ClosedStep():
                return replace(self, closed={**self.closed, record.step_id: record})
            case Plan():
                return replace(self, plans=(*self.plans, record))
            case FailedAttempt():
                tries = (*self.failures.get(record.job, ()), record)
                return replace(self, failures={**self.failures, record.job: tries})
            case RunBegun():
                return replace(self, status=RunStatus.RUNNING, started_at=record.started_at)
            case RunEnded():
                return replace(self, status=record.status, ended=record)

    @property
    def order(self) -> tuple[str, ...]:
        """Closed steps in the order in which every invocation sees them.

        The last plan fixes what came before it; later ones follow by how much their job had seen, then by time.
        A later order always begins with an earlier one that some decision was made on.
        """
        settled = self.plans[-1].order if self.plans else self.kept
        if len(settled) == len(self.closed):
            return settled
        known = frozenset(settled)
        rest = [
            step
            for step in self.closed.values()
            if step.step_id not in known and step.status is not StepStatus.VANISHED
        ]
        rest.sort(key=lambda step: (step.seq, step.closed_at, step.step_id))
        return (*settled, *(step.step_id for step in rest))

    @property
    def position(self) -> int:
        """Grows with every record that moves the run on; names the next discovery."""
        return len(self.closed) + len(self.plans)

    @property
    def discovery_job(self) -> str:
        return f"{DISCOVERY}#{self.position}"

    @property
    def open_ops(self) -> tuple[OpenOp, ...]:
        """Planned work that has no result yet, oldest plan first."""
        return tuple(op for op in chain.from_iterable(plan.ops for plan in self.plans) if op.step_id not in self.closed)

    @property
    def in_flight(self) -> tuple[OpenOp, ...]:
        """Open work that is user code: planned steps."""
        return tuple(op for op in self.open_ops if op.kind is Opcode.STEP_PLANNED)

    def open_op(self, step_id: str) -> OpenOp | None:
        return next((op for op in self.open_ops if op.step_id == step_id), None)

    def plan_of(self, step_id: str) -> Plan | None:
        return next((plan for plan in self.plans if any(op.step_id == step_id for op in plan.ops)), None)

    @property
    def discovered(self) -> bool:
        """Whether any discovery has left a record."""
        return bool(self.plans) or any(step.job.startswith(DISCOVERY) for step in self.closed.values())

    @property
    def unseen(self) -> tuple[str, ...]:
        """Closed steps that no recorded discovery has seen yet; a discovery owes them an answer."""
        order = self.order
        by_plans = len(self.plans[-1].order) if self.plans else len(self.kept)
        by_steps = (step.seq - 1 for step in self.closed.values() if step.job.startswith(DISCOVERY))
        return order[max(chain((by_plans,), by_steps)) :]

    def attempt_of(self, job: str) -> int:
        """The number (from 0) of the next try of a job."""
        return len(self.failures.get(job, ()))

    def next_try_at(self, job: str) -> datetime | None:
        tries = self.failures.get(job)
        return tries[-1].next_at if tries else None

    def step_count_with(self, step_ids: Iterable[str]) -> int:
        """How many distinct steps the run would have."""
        planned = (op.step_id for plan in self.plans for op in plan.ops)
        return len({*self.closed, *planned, *step_ids})

    @property
    def stored_bytes(self) -> int:
        return sum(
            step.memo.size if isinstance(step.memo, BlobRef) else len(step.memo) for step in self.closed.values()
        )
