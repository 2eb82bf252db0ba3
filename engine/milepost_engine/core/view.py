"""What follows from a run's records: results, the order in which every invocation sees them, what is open or unseen.

Rules of the order
 1. The last plan fixes the order of what its discovery had seen.
 2. Other closed steps follow by how much their job had seen (`seq`), then by time, then by id.
So an order always begins with every earlier order that a decision was based on.

Laws
 - Adding a record copies a few tables of pointers; the order is derived again only when a record comes out of order.
 - A view that a run has is never changed: `after` returns another one.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Final, Self

from milepost.protocol import DISCOVERY, Opcode

from .records import BlobRef, ClosedStep, FailedAttempt, OpenOp, Plan, StepStatus

__all__ = ["Unseen", "View"]


class Unseen(StrEnum):
    """What the next discovery has to see. Which kinds cause one at once is decided in `outstanding.py`."""

    __hash__ = str.__hash__  # an enum's own is Python code, and each decision asks for it

    START = "the run's start: no discovery has left a record yet"
    RAN = "a step that a discovery ran"
    AWAITED = "a sleep, a wait or an invoke"
    RACING = "a parallel step that races its siblings"
    PARALLEL = "a parallel step"
    NOTHING = "nothing"


class View:
    """What follows from the records of one run.

    `order`: closed steps as invocations see them, without those that vanished. `seen`: how many of them a recorded
    discovery has seen. `unseen_kinds`: the kinds of the others. `in_flight`: how many planned steps have no result yet.
    `latest_due`: the last moment at which a sleep, a wait, an invoke or another attempt is due.
    """

    __slots__ = (
        "_fixed", "closed", "discovered", "failures", "in_flight", "kept", "latest_due", "open", "order", "planned",
        "plans", "seen", "stored_bytes", "unseen_kinds",
    )  # fmt: skip

    def __init__(self, kept: tuple[str, ...] = ()) -> None:
        self.kept = kept
        self.closed: dict[str, ClosedStep] = {}
        self.plans: tuple[Plan, ...] = ()
        self.failures: dict[str, tuple[FailedAttempt, ...]] = {}
        self.planned: dict[str, tuple[Plan, OpenOp]] = {}
        self.open: dict[str, OpenOp] = {}
        self.order = kept
        self.in_flight = 0
        self.seen = len(kept)
        self.discovered = False
        self.unseen_kinds: frozenset[Unseen] = _NONE
        self.stored_bytes = 0
        self.latest_due: datetime | None = None
        self._fixed = len(kept)
        """How many steps of the order the last plan (or, in a replay, the origin) has fixed."""

    @classmethod
    def of(cls, records: Iterable[ClosedStep | Plan | FailedAttempt], kept: tuple[str, ...] = ()) -> Self:
        """The view of some records: plans by turn, failed attempts by number, otherwise in any order."""
        view = cls(kept)
        for record in records:
            view._note(record)
        view._arrange()
        return view

    def after(self, record: ClosedStep | Plan | FailedAttempt) -> View:
        """The view with one more record. A plan comes after the closed steps that it names."""
        view = View.__new__(View)
        for name in View.__slots__:
            setattr(view, name, getattr(self, name))
        view.closed, view.open = self.closed.copy(), self.open.copy()
        if not isinstance(record, ClosedStep):
            view.planned, view.failures = self.planned.copy(), self.failures.copy()
        view.add(record)
        return view

    def add(self, record: ClosedStep | Plan | FailedAttempt) -> None:
        """Add a record in place; only for a view that nothing else refers to yet."""
        self._note(record)
        match record:
            case ClosedStep():
                self._place(record)
            case Plan():
                self._fix_order(record)
            case _:
                pass

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, View):
            return NotImplemented
        mine = (self.kept, self.closed, self.plans, self.failures)
        return mine == (other.kept, other.closed, other.plans, other.failures)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"View(closed={list(self.closed.values())}, plans={self.plans}, failures={self.failures})"

    def is_branch(self, step_id: str) -> bool:
        """Whether a planned step was open in parallel with others."""
        found = self.planned.get(step_id)
        if found is None:
            return False
        plan = found[0]
        if len(plan.ops) > 1:
            return True
        if all(len(each.ops) <= 1 for each in self.plans):
            return False
        seen = frozenset(plan.order)
        return any(op.step_id not in seen for each in self.plans[: plan.turn] for op in each.ops)

    @property
    def sees_branches(self) -> bool:
        """Whether a planned step, sleep, wait or invoke has closed that no discovery has seen."""
        return not self.unseen_kinds <= _RAN

    # --- records ----------------------------------------------------------------------------------------------------

    def _note(self, record: ClosedStep | Plan | FailedAttempt) -> None:
        """Update everything but the order and what has been seen of it."""
        match record:
            case ClosedStep():
                self._close(record)
            case Plan():
                self._plan(record)
            case FailedAttempt():
                self.failures[record.job] = (*self.failures.get(record.job, ()), record)
                self._due(record.next_at)

    def _close(self, step: ClosedStep) -> None:
        self.closed[step.step_id] = step
        self.stored_bytes += step.memo.size if isinstance(step.memo, BlobRef) else len(step.memo)
        self.discovered = self.discovered or step.job.startswith(DISCOVERY)
        op = self.open.pop(step.step_id, None)
        if op is not None and op.kind is Opcode.STEP_PLANNED:
            self.in_flight -= 1

    def _plan(self, plan: Plan) -> None:
        self.plans = (*self.plans, plan)
        self.discovered = True
        for op in plan.ops:
            if op.step_id in self.planned:
                continue
            self.planned[op.step_id] = plan, op
            if op.step_id not in self.closed:
                self.open[op.step_id] = op
                self.in_flight += op.kind is Opcode.STEP_PLANNED
            # An invoke without a timeout of its own has one of a year: the sweeper extends what lives that long.
            if op.due_at is not None and (op.kind is not Opcode.INVOKE_FUNCTION or op.opts.get("timeout")):
                self._due(op.due_at)

    def _due(self, moment: datetime) -> None:
        if self.latest_due is None or moment > self.latest_due:
            self.latest_due = moment

    # --- the order --------------------------------------------------------------------------------------------------

    def _place(self, step: ClosedStep) -> None:
        """Put one more step where the rules of the order put it; nearly always that is the end."""
        if step.status is StepStatus.VANISHED:
            return
        place = len(self.order)
        if place > self._fixed and _rank(self.closed[self.order[-1]]) > _rank(step):
            ranks = [_rank(self.closed[step_id]) for step_id in self.order[self._fixed :]]
            place = self._fixed + bisect(ranks, _rank(step))
        self.order = (*self.order[:place], step.step_id, *self.order[place:])
        seen = max(self.seen, _seen_by(step))
        if place < seen or seen > self.seen:
            self.seen = seen
            self.unseen_kinds = self._kinds()
        elif (kind := self._kind(step.step_id)) not in self.unseen_kinds:
            self.unseen_kinds |= {kind}

    def _fix_order(self, plan: Plan) -> None:
        """Fix the order that the plan's discovery had seen; nearly always that is all of it."""
        if plan.order != self.order:
            self._arrange()
            return
        self._fixed = self.seen = len(plan.order)
        self.unseen_kinds = _NONE

    def _arrange(self) -> None:
        """Derive the order, and what has been seen of it, from all records."""
        fixed = self.plans[-1].order if self.plans else self.kept
        known = frozenset(fixed)
        rest = [
            step
            for step in self.closed.values()
            if step.step_id not in known and step.status is not StepStatus.VANISHED
        ]
        rest.sort(key=_rank)
        self.order = (*fixed, *(step.step_id for step in rest))
        self._fixed = len(fixed)
        self.seen = max(len(fixed), max(map(_seen_by, self.closed.values()), default=0))
        self.unseen_kinds = self._kinds()

    def _kinds(self) -> frozenset[Unseen]:
        return frozenset(map(self._kind, self.order[self.seen :]))

    def _kind(self, step_id: str) -> Unseen:
        found = self.planned.get(step_id)
        if found is None:
            return Unseen.RAN
        op = found[1]
        if op.kind is not Opcode.STEP_PLANNED:
            return Unseen.AWAITED
        return Unseen.RACING if op.opts.get("parallelMode") == "race" else Unseen.PARALLEL


_NONE: Final[frozenset[Unseen]] = frozenset()
_RAN: Final = frozenset({Unseen.RAN})


def _rank(step: ClosedStep) -> tuple[int, datetime, str]:
    return step.seq, step.closed_at, step.step_id


def _seen_by(step: ClosedStep) -> int:
    """How many steps the discovery that ran this one had seen; 0 when no discovery did."""
    return step.seq - 1 if step.job.startswith(DISCOVERY) else 0
