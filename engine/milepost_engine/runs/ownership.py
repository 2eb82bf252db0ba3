"""Who may call user code for a run: the law of ownership, and what this process knows of the runs in its hands.

The law
 1. User code is called for a job only by the holder of the current claim on it. Of a discovery that may run a step,
    that is the owner of the run (attribute `owner` of its header); of a planned step, whoever holds the step's claim
    (item `C#<job>`).
 2. Every way to become the holder is one conditional write: `RunStore.claim_run` and `RunStore.claim_step` name them.
 3. Whoever has lost a claim can neither begin a call (the owner is read again before each one) nor have an answer
    acted on (the end of a run names its owner; a retry or a hand-over succeeds the claim that it names).
 4. A message that brings nothing new, and is not delivered again, ends. Whoever wrote what it would have written acts
    on it, and is delivered again if its worker died.
 5. A message that is delivered again owes what its own records led to, and nothing else (`core/owed.py`).
A peek (a discovery while something is open) runs no step, so it needs no claim; what it plans is kept only while the
owner of the run is the one that it knew.

What a message does after it has been decided on and saved, by who it is and how the save ended (`NEXT`):

                 wrote            nothing to write        another's record stands
    owner        act              act                     read again, continue if still the owner
    again        act              what it owes            read again, what it owes
    first        act              act, if it asks for     end
                                  a call; else timers

All messages about one run that a process has in its hands share one `LiveRun`: the newest view of the run that is known
here. It may lack what other processes wrote since it was read; it never lacks what this one wrote. That is enough to
decide on, because every record is one conditional write – but for two things, for which the orchestrator reads:
whether a sibling was closed elsewhere meanwhile, and (before the discovery that joins them) all of the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Final

from milepost.protocol import DISCOVERY
from milepost_engine.core.commands import Invoke
from milepost_engine.core.inputs import TimerKind
from milepost_engine.core.run import ClosedStep, FailedAttempt, Plan, Record, Run, RunBegun, RunStatus, changed
from milepost_engine.store.messages import (
    CancelRun,
    DoJob,
    InvocationReport,
    RunMessage,
    StartRun,
    TimerFired,
    WatchRun,
)
from milepost_engine.store.runs import Claimant, RunStore

__all__ = ["NEXT", "Lease", "LiveRun", "Next", "Part", "Saved"]


class Part(Enum):
    """A message's part in its run: it owns the run; it was delivered before; or neither."""

    __hash__ = object.__hash__  # an enum's own is Python code, and each turn of a run looks up two

    OWNER = auto()
    AGAIN = auto()
    FIRST = auto()


class Saved(Enum):
    """How saving a decision ended."""

    __hash__ = object.__hash__  # as above

    WROTE = auto()
    NOTHING = auto()
    STOOD = auto()


class Next(Enum):
    """What a message does then."""

    ACT = auto()
    ACT_IF_ASKED = auto()
    OWED = auto()
    READ_AGAIN_OWED = auto()
    READ_AGAIN = auto()
    END = auto()


NEXT: Final[Mapping[tuple[Part, Saved], Next]] = {
    (Part.OWNER, Saved.WROTE): Next.ACT,
    (Part.OWNER, Saved.NOTHING): Next.ACT,
    (Part.OWNER, Saved.STOOD): Next.READ_AGAIN,
    (Part.AGAIN, Saved.WROTE): Next.ACT,
    (Part.AGAIN, Saved.NOTHING): Next.OWED,
    (Part.AGAIN, Saved.STOOD): Next.READ_AGAIN_OWED,
    (Part.FIRST, Saved.WROTE): Next.ACT,
    (Part.FIRST, Saved.NOTHING): Next.ACT_IF_ASKED,
    (Part.FIRST, Saved.STOOD): Next.END,
}


@dataclass(slots=True)
class LiveRun:
    """One run in the hands of this process.

    `holders` counts the messages about it, `at_work` those among them that may have a claim on it; `kept_until` is when
    retention may remove it; `texts` are its memoised steps as calls carry them.
    """

    run_id: str
    function_id: str
    run: Run | None = None
    at_work: int = 0
    holders: int = 0
    written: list[Record] = field(default_factory=list)
    kept_until: datetime | None = None
    texts: dict[str, bytes] = field(default_factory=dict)

    async def read(self, runs: RunStore) -> Run | None:
        """Read the run again; None when it is gone. What is known here already is not lost sight of.

        message 1   reads ·············· a, b ── knows a, b
        message 2         reads ·· a, b, c ── knows a, b, c ······ message 1 must not forget c
        """
        mark = len(self.written)
        fresh = await runs.load(self.run_id, self.function_id)
        return None if fresh is None else self._take_in(fresh, mark)

    def _take_in(self, fresh: Run, mark: int) -> Run:
        """The run as read just now, and what was written since the reading began."""
        if self.run is not None and _knows_more(self.run, fresh, self.written[mark:]):
            self.run = changed(self.run, owner=fresh.owner, claimed_by=fresh.claimed_by, claimed_at=fresh.claimed_at)
            return self.run
        for record in self.written[mark:]:
            fresh = _with(fresh, record)
        self.run = fresh
        return fresh

    def learn(self, record: Record) -> Run:
        """A record that another process wrote."""
        assert self.run is not None
        self.run = _with(self.run, record)
        return self.run

    def wrote(self, records: Sequence[Record], before: Run, after: Run) -> bool:
        """Own records, decided on `before`, are written; False when the view has moved on meanwhile."""
        self.written += records
        if self.run is before:
            self.run = after
            return True
        for record in records:
            self.learn(record)
        return False


@dataclass(slots=True)
class Lease:
    """One message's part in a run: what it may do there.

    `claim` is the claim under which it owns the run, `step_claim` the one under which it may call the planned step
    `step`. `withdrawn` is one that it made when it was delivered before: no call that it handed over then will begin.
    `closed`: it has closed a step, so it may be the one to claim what follows; `joins`: that was the last of several
    branches, whose results it may not know. `sweeps`: it was sent because the holder of a claim is overdue,
    and may succeed it. `basis` is the run as the call in progress knows it: its answer is about that, whatever was
    closed since. `unverified`: the run is to be read again before the claim on it is used; `claim_before` is one that
    did not stand that test.
    """

    live: LiveRun
    message: RunMessage
    redelivered: bool = False
    claim: str = ""
    claim_before: str = ""
    claimed_for: tuple[str, int] = ("", 0)
    step: tuple[str, int] | None = None
    step_claim: str = ""
    withdrawn: str = ""
    closed: bool = False
    joins: bool = False
    unverified: bool = False
    sweeps: bool = False
    basis: Run | None = None
    fresh: bool = False
    """Whether the run was read for this message, and nothing was written since."""

    @property
    def run(self) -> Run:
        """The newest view of the run."""
        assert self.live.run is not None
        return self.live.run

    @property
    def part(self) -> Part:
        if self.claim:
            return Part.OWNER
        # A cancellation was decided where it was accepted: its message owes what the end brings with it.
        again = self.redelivered or isinstance(self.message, CancelRun)
        return Part.AGAIN if again else Part.FIRST

    @property
    def asks(self) -> bool:
        """Whether its message asks for a call without bringing anything that is written down."""
        match self.message:
            case StartRun() | DoJob() | CancelRun() | WatchRun() | InvocationReport():
                return True
            case TimerFired():
                return self.message.timer in {TimerKind.BEGIN, TimerKind.PEEK}
            case _:
                return False

    def claimant(self, owner: str, now: datetime) -> Claimant:
        """Who asks for a claim, and when. `owner` holds it now, as far as is known: a sweep may succeed it."""
        succeeds: str | None = None
        match self.message:
            case DoJob():
                succeeds = self.message.succeeds or None
            case InvocationReport() if self._reports_discovery:
                succeeds = self.message.owner or None
            case WatchRun() if self.sweeps:
                succeeds = owner or None
            case _:
                pass
        succeeds = self.claim or self.claim_before or succeeds
        return Claimant(self.message.message_id, self.redelivered, succeeds, now, self.withdrawn)

    async def read(self, runs: RunStore) -> Run | None:
        """Read the run again; None when it is gone."""
        fresh = await self.live.read(runs)
        self.fresh = fresh is not None
        return fresh

    def owns(self, owner: str, invoke: Invoke, now: datetime) -> None:
        """The run is this message's now, under a claim, to begin with for one attempt of a job."""
        self.claim, self.claimed_for = owner, (invoke.job, invoke.attempt)
        self.live.run = changed(self.run, owner=owner, claimed_by=self.message.message_id, claimed_at=now)

    def may_call(self, run: Run, invoke: Invoke) -> bool:
        """Whether the claim that the lease has holds for a discovery.

        A further attempt of an invocation that checkpoints or is handed over asks for a claim of its own: the attempt
        before may still be under way, and would pass for this one.
        """
        if self.unverified:
            return self._verify(invoke)
        alone = run.checkpoint or bool(run.target.get("reports"))
        again = alone and invoke.attempt > 0 and self.claimed_for != (invoke.job, invoke.attempt)
        return bool(self.claim) and not again

    def asks_anew(self) -> None:
        """Claim again before the next discovery: the run has moved on without this message.

        worker 1   calls #1 ·········· writes step a, plans a wait
        worker 2   (again) calls #1 ································ step a stands ── reads: the wait is closed
        worker 3                                                     closes the wait: claims #2, calls
        """
        self.claim, self.claim_before = "", self.claim

    def _verify(self, invoke: Invoke) -> bool:
        """Whether the run still stands where it was claimed, now that it was read again; else it is claimed anew.

        worker 1   claims discovery #1 again ── reads the header ───────────────────────── reads the records: #2
        worker 2                                   a timer closes a sleep: claims #2, calls
        """
        self.unverified = False
        if invoke.job != self.claimed_for[0]:
            self.asks_anew()
        # Nothing is read between the records and the call: what stands is found before the body begins again.
        self.fresh = bool(self.claim)
        return self.fresh

    def has_called(self, job: str) -> bool:
        """Whether it has the claim on an attempt of a planned step, and so cannot claim another one.

        worker         claims a ── calls: a fails, to be retried at once ── sends: job a, attempt 2
        worker again                                                    finds that: sends the same, and one of the two
                                                                        succeeds the claim
        """
        return self.step is not None and self.step[0] == job

    def claim_on(self, job: str) -> str:
        """The claim that the lease has on a job, or that its report has come back with."""
        if not job.startswith(DISCOVERY):
            return self.step_claim if self.step is not None and self.step[0] == job else ""
        if self.claim or not isinstance(self.message, InvocationReport) or not self._reports_discovery:
            return self.claim
        return self.message.owner

    def claim_of_answer(self) -> str | None:
        """The claim under which the answer of a discovery may end the run."""
        return self.claim_on(DISCOVERY) or None

    @property
    def _reports_discovery(self) -> bool:
        return isinstance(self.message, InvocationReport) and self.message.job.startswith(DISCOVERY)


def _knows_more(known: Run, fresh: Run, written: Sequence[Record]) -> bool:
    """Whether a run as known lacks nothing of one just read and has more, own records written meanwhile aside."""
    closed = fresh.closed.keys() | {record.step_id for record in written if isinstance(record, ClosedStep)}
    plans = len(fresh.plans) + sum(isinstance(record, Plan) and record.turn >= len(fresh.plans) for record in written)
    return len(known.closed) > len(closed) or len(known.plans) > plans


def _with(run: Run, record: Record) -> Run:
    """The run with a record, unless it has it already."""
    match record:
        case ClosedStep():
            known = record.step_id in run.closed
        case Plan():
            known = record.turn < len(run.plans)
        case FailedAttempt():
            known = record.attempt < run.attempt_of(record.job)
        case RunBegun():
            known = run.status is not RunStatus.QUEUED
        case _:
            known = run.status.ended
    return run if known else run.with_record(record)
