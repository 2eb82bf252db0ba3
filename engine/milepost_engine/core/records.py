"""The records of a run; each is written once and never changed.

- `Plan`: one discovery found open work (steps to run, sleeps, waits, invokes), or found nothing new;
- `ClosedStep`: a step has its final result;
- `FailedAttempt`: an attempt failed and another follows;
- `RunBegun`, `RunEnded`: a delayed run's start, and a run's end.

`by` names the message whose worker wrote a record, or for a checkpoint the claim under which it was saved. A
redelivered message recognises by it what it did before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from milepost.protocol import Opcode

from .retries import RetryPolicy

__all__ = [
    "BlobRef",
    "ClosedStep",
    "FailedAttempt",
    "Json",
    "OpenOp",
    "Outcome",
    "Plan",
    "Record",
    "RunBegun",
    "RunEnded",
    "RunStatus",
    "StepStatus",
    "Stored",
    "sign",
]

Json = object
"""A JSON value that is only carried."""


class RunStatus(StrEnum):
    __hash__ = str.__hash__  # an enum's own is Python code, and each decision asks for it

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
    """Planned, but the code that was called later has no such step; it has no result."""


@dataclass(frozen=True, slots=True)
class BlobRef:
    """Where a large value is stored."""

    key: str
    size: int


Stored = bytes | BlobRef
"""JSON text, inline or in a blob."""


@dataclass(frozen=True, slots=True)
class OpenOp:
    """One piece of open work of a plan.

    `due_at` is the end of a sleep, or the timeout of a wait or invoke. `opts` is what the SDK sent.
    """

    step_id: str
    kind: Opcode
    name: str
    due_at: datetime | None = None
    opts: Mapping[str, Json] = field(default_factory=dict)
    retries: RetryPolicy | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What the discovery `job` found. `order` lists the closed steps it had seen, in the order it saw them."""

    turn: int
    job: str
    order: tuple[str, ...]
    ops: tuple[OpenOp, ...]
    recorded_at: datetime
    by: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ClosedStep:
    """A step with its final result. `memo` is the JSON that the SDK gets back (protocol §2.6).

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
    by: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """An attempt of a job (a discovery, or one planned step) that failed; the next one is due at `next_at`."""

    job: str
    attempt: int
    step_id: str
    name: str
    error: Mapping[str, Json]
    started_at: datetime
    ended_at: datetime
    next_at: datetime
    by: str = field(default="", compare=False)


class Outcome(StrEnum):
    """Why a run ended; finer than its status."""

    RETURNED = "returned"
    ERROR = "error"
    EVENT = "event"
    API = "api"
    START_TIMEOUT = "start timeout"
    FINISH_TIMEOUT = "finish timeout"
    PARENT = "parent"
    """The run that invoked it was cancelled."""


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
    """A delayed run has started."""

    started_at: datetime


Record = Plan | ClosedStep | FailedAttempt | RunEnded | RunBegun


def sign(record: Record, by: str) -> None:
    """Name the message whose worker made a record; only for a record that was made just now.

    A copy by `dataclasses.replace`, and what holds the record made anew, would cost a step as much as deciding it.
    """
    if isinstance(record, _SIGNED):
        object.__setattr__(record, "by", by)


_SIGNED: Final = (ClosedStep, Plan, FailedAttempt)
