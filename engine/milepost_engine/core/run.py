"""The run: its header, and what follows from its records (`view.py`).

Laws: no I/O, no clock, no randomness. Every record is decided by `machine.py` and stored by `store.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final

from milepost.protocol import DISCOVERY, MAX_STEPS_DEFAULT

from .records import (
    BlobRef,
    ClosedStep,
    FailedAttempt,
    Json,
    OpenOp,
    Outcome,
    Plan,
    Record,
    RunBegun,
    RunEnded,
    RunStatus,
    StepStatus,
    Stored,
)
from .retries import DEFAULT_RETRIES, RetryPolicy
from .view import View

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
    "View",
    "changed",
]


CHAIN_PACE: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Parent:
    """The run and step that invoked this run and wait for its result. `cancels`: this run is cancelled with it."""

    run_id: str
    step_id: str
    function_id: str
    cancels: bool = False


@dataclass(frozen=True, slots=True)
class CancelOn:
    """An event that cancels the run; `expression` as bound to the trigger event, or empty."""

    event: str
    expression: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """A run at one moment. `with_record` adds a record; `view` says what follows from the records.

    `owner` is the run's current claim, `claimed_by` the message that made it, at `claimed_at`. `retention` is what its
    app asked for; `kept_until` is when its stored header expires. `chain`: see `chain_at`.
    """

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
    step_limit: int = MAX_STEPS_DEFAULT
    retention: timedelta | None = None
    kept_until: datetime | None = field(default=None, compare=False)
    peeks: bool = False
    checkpoint: bool = False
    chain: int = 0
    parent: Parent | None = None
    origin_run_id: str = ""
    owner: str = ""
    claimed_by: str = ""
    claimed_at: datetime | None = None
    cancel_on: tuple[CancelOn, ...] = ()
    target: Mapping[str, Json] = field(default_factory=dict)
    view: View = field(default_factory=View)

    def chain_at(self, now: datetime) -> int:
        """How many events led to this run, each sent by a run that the one before it had started.

        A run that lives for longer than `CHAIN_PACE` begins anew: such a chain does no harm, and a function that
        continues itself once a day for years is no loop.
        """
        return self.chain if now - self.queued_at <= CHAIN_PACE else 0

    def with_record(self, record: Record) -> Run:
        """The run after one more record."""
        match record:
            case RunBegun():
                return changed(self, status=RunStatus.RUNNING, started_at=record.started_at)
            case RunEnded():
                return changed(self, status=record.status, ended=record)
            case _:
                return changed(self, view=self.view.after(record))

    @property
    def kept(self) -> tuple[str, ...]:
        """Steps whose results a replay keeps from its origin, in order."""
        return self.view.kept

    @property
    def closed(self) -> Mapping[str, ClosedStep]:
        return self.view.closed

    @property
    def plans(self) -> tuple[Plan, ...]:
        return self.view.plans

    @property
    def failures(self) -> Mapping[str, tuple[FailedAttempt, ...]]:
        """Failed attempts by job, oldest first."""
        return self.view.failures

    @property
    def order(self) -> tuple[str, ...]:
        """Closed steps in the order in which every invocation sees them."""
        return self.view.order

    @property
    def position(self) -> int:
        """Grows with every closed step and every plan; names the next discovery."""
        return len(self.view.closed) + len(self.view.plans)

    @property
    def discovery_job(self) -> str:
        return f"{DISCOVERY}#{self.position}"

    @property
    def open_ops(self) -> tuple[OpenOp, ...]:
        """Work of the plans that has no result yet, oldest plan first."""
        return tuple(self.view.open.values())

    @property
    def in_flight(self) -> int:
        """How many planned steps (open work that runs user code) have no result yet."""
        return self.view.in_flight

    def open_op(self, step_id: str) -> OpenOp | None:
        return self.view.open.get(step_id)

    def plan_of(self, step_id: str) -> Plan | None:
        found = self.view.planned.get(step_id)
        return found[0] if found else None

    def used_before(self, step_id: str) -> frozenset[str]:
        """The events that had ended waits of this run when a step was planned."""
        plan = self.plan_of(step_id)
        known = (self.view.closed.get(closed) for closed in plan.order) if plan else ()
        return frozenset(str(step.detail["event_id"]) for step in known if step and "event_id" in step.detail)

    @property
    def discovered(self) -> bool:
        """Whether any discovery has left a record."""
        return self.view.discovered

    @property
    def unseen(self) -> tuple[str, ...]:
        """Closed steps that no recorded discovery has seen yet."""
        return self.view.order[self.view.seen :]

    def attempt_of(self, job: str) -> int:
        """The number (from 0) of the next attempt of a job."""
        return len(self.view.failures.get(job, ()))

    def next_try_at(self, job: str) -> datetime | None:
        attempts = self.view.failures.get(job)
        return attempts[-1].next_at if attempts else None

    def step_count_with(self, step_ids: Iterable[str]) -> int:
        """How many distinct steps the run would have with these."""
        view = self.view
        new = {step_id for step_id in step_ids if step_id not in view.closed and step_id not in view.planned}
        return len(view.closed) + len(view.open) + len(new)

    @property
    def stored_bytes(self) -> int:
        return self.view.stored_bytes


_NAMES: Final = tuple(each.name for each in fields(Run))
_GET: Final = attrgetter(*_NAMES)
_SET: Final = tuple(getattr(Run, name).__set__ for name in _NAMES)


def changed(run: Run, **changes: object) -> Run:
    """The same as `dataclasses.replace`, in a quarter of the time: every record of every step comes through here."""
    made = object.__new__(Run)
    for set_field, value in zip(_SET, _GET(run), strict=True):
        set_field(made, value)
    for name, value in changes.items():
        object.__setattr__(made, name, value)
    return made
