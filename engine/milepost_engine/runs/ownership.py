"""What this process knows of the runs that it has in hand.

All messages about one run share one `LiveRun`: the newest view of the run that is known here, and the jobs under way.
The view may lack what other processes wrote since it was read; it never lacks what this one wrote. That is enough to
decide on, because every record is one conditional write – but for two things, for which the orchestrator reads:
whether a sibling was closed elsewhere meanwhile, and (before the discovery that joins them) all of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from milepost_engine.core.run import ClosedStep, FailedAttempt, Plan, Record, Run, RunBegun, RunStatus, changed
from milepost_engine.store.runs import RunStore

__all__ = ["Lease", "LiveRun"]


@dataclass(slots=True)
class LiveRun:
    """One run in hand. `holders` counts the messages about it; `kept_until` is when retention lets go of it.

    `texts` are its memoised steps as calls carry them.
    """

    run_id: str
    function_id: str
    run: Run | None = None
    jobs: set[str] = field(default_factory=set)
    holders: int = 0
    written: list[Record] = field(default_factory=list)
    kept_until: datetime | None = None
    texts: dict[str, bytes] = field(default_factory=dict)

    async def read(self, runs: RunStore) -> Run | None:
        """Read the run anew; None when it is gone. What is known here already is not lost sight of.

        message 1   reads ·············· a, b ── knows a, b
        message 2         reads ·· a, b, c ── knows a, b, c ······ message 1 must not forget c
        """
        mark = len(self.written)
        fresh = await runs.load(self.run_id, self.function_id)
        return None if fresh is None else self._take_in(fresh, mark)

    async def read_records(self, runs: RunStore) -> Run:
        """Learn what was closed meanwhile. Whether the run still lives, and whose it is, its next use tells."""
        assert self.run is not None
        mark = len(self.written)
        return self._take_in(await runs.reload(self.run), mark)

    def _take_in(self, fresh: Run, mark: int) -> Run:
        """The run as read just now, and what was written since the reading began."""
        if self.run is not None and _knows_more(self.run, fresh, self.written[mark:]):
            self.run = changed(self.run, owner=fresh.owner)
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
    """One message's part in a run: the job that it has under way, and the owner under whom it drives the run.

    `basis` is the run as a discovery was told of it: its answer is about that, whatever was closed since.
    """

    live: LiveRun
    owner: str
    job: str | None = None
    basis: Run | None = None
    redelivered: bool = False
    takes_over: bool = False
    fresh: bool = False
    """Whether the run was read for this message, and nothing was written since."""
    shares: bool = False
    """Whether other messages may be about to go on with the run, too: those of other branches."""
    reports: bool = False
    """Whether the message brings the answer of an invocation that nobody waited for."""

    @property
    def run(self) -> Run:
        """The newest view of the run."""
        assert self.live.run is not None
        return self.live.run

    def take(self, job: str) -> bool:
        """Take a job up; False when another message of this process has it under way."""
        if job in self.live.jobs:
            return False
        self.live.jobs.add(job)
        self.job = job
        return True

    def let_go(self) -> None:
        if self.job is not None:
            self.live.jobs.discard(self.job)
            self.job = None


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
