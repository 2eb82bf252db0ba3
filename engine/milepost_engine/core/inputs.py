"""Facts given to the machine, past tense."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from milepost.protocol import DISCOVERY, Opcode

from .run import Json, Outcome, Stored

__all__ = [
    "Call",
    "CancelRequested",
    "ChildFinished",
    "EventMatched",
    "Input",
    "InvocationFailed",
    "InvocationReturned",
    "ReportedOp",
    "RunResumed",
    "RunStarted",
    "StepsCheckpointed",
    "TimerDue",
    "TimerKind",
]


@dataclass(frozen=True, slots=True)
class Call:
    """One invocation as it was made: its job, its attempt, and the closed steps it was given, in order."""

    job: str
    attempt: int
    order: tuple[str, ...]
    started_at: datetime

    @property
    def target(self) -> str:
        """What the SDK is asked to do: look for steps, or run this step."""
        return DISCOVERY if self.job.startswith(DISCOVERY) else self.job


@dataclass(frozen=True, slots=True)
class ReportedOp:
    """One op that an invocation reported. `data` is JSON text; `error` has name, message, stack.

    `mark` says something of the arguments of a step's code; our SDK gets it back with the result.
    """

    step_id: str
    kind: Opcode
    name: str = ""
    data: Stored = b"null"
    error: Mapping[str, Json] | None = None
    opts: Mapping[str, Json] = field(default_factory=dict)
    started_at: datetime | None = None
    ended_at: datetime | None = None
    mark: str = ""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run's first message arrived."""


@dataclass(frozen=True, slots=True)
class RunResumed:
    """A message about `job` arrived (again); None: the sweeper asks for everything that is outstanding."""

    job: str | None = None


@dataclass(frozen=True, slots=True)
class InvocationReturned:
    """User code responded with ops; a function that returned responds with the op RunComplete."""

    call: Call
    ops: tuple[ReportedOp, ...]
    no_retry: bool = False
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class StepsCheckpointed:
    """User code saved finished steps while its invocation continues."""

    call: Call
    ops: tuple[ReportedOp, ...]


@dataclass(frozen=True, slots=True)
class InvocationFailed:
    """User code raised outside a step, or did not respond. `counts` is False if the platform was at fault."""

    call: Call
    error: Mapping[str, Json]
    no_retry: bool = False
    retry_after: timedelta | None = None
    counts: bool = True


class TimerKind(StrEnum):
    BEGIN = "begin"
    STEP = "step"
    START_TIMEOUT = "start timeout"
    FINISH_TIMEOUT = "finish timeout"
    PEEK = "peek"


@dataclass(frozen=True, slots=True)
class TimerDue:
    """A timer may be due: a sleep, a timeout, a delayed start, a peek."""

    kind: TimerKind
    step_id: str = ""


@dataclass(frozen=True, slots=True)
class EventMatched:
    """An event matches an open wait; `memo` is the event's JSON."""

    step_id: str
    event_id: str
    memo: Stored
    received_at: datetime


@dataclass(frozen=True, slots=True)
class ChildFinished:
    """An invoked run ended, or could not start (then it has no run id)."""

    step_id: str
    memo: Stored
    failed: bool
    child_run_id: str = ""


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """A person, an event or a time limit asks for the run to end."""

    outcome: Outcome
    reason: str = ""


Input = (
    RunStarted
    | RunResumed
    | InvocationReturned
    | StepsCheckpointed
    | InvocationFailed
    | TimerDue
    | EventMatched
    | ChildFinished
    | CancelRequested
)
