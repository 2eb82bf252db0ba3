"""What a message means to its run: one input of the machine for each kind of message.

    StartRun          RunStarted              TimerFired     TimerDue          CancelRun    CancelRequested
    DoJob             RunResumed(job)         EventArrived   EventMatched      WatchRun     RunResumed(None), if overdue
    InvocationReport  InvocationReturned,     ChildEnded     ChildFinished     StepRefused  ChildFinished, failed
                      InvocationFailed
None: the message means nothing to the run as it stands. One that was delivered before then owes what it led to.
"""

from __future__ import annotations

from dataclasses import dataclass

from milepost.protocol import DISCOVERY
from milepost_engine.codec import dumps
from milepost_engine.core.inputs import (
    CancelRequested,
    ChildFinished,
    EventMatched,
    Input,
    InvocationFailed,
    RunResumed,
    RunStarted,
    TimerDue,
)
from milepost_engine.observe import Observer
from milepost_engine.ports import Blobs, Clock
from milepost_engine.store.events import Event, EventStore
from milepost_engine.store.messages import (
    CancelRun,
    ChildEnded,
    DoJob,
    EventArrived,
    InvocationReport,
    MessageSender,
    StartRun,
    StepRefused,
    TimerFired,
    WatchRun,
)
from milepost_engine.store.runs import RunStore

from .endings import Endings
from .ownership import Lease
from .reports import answer_of, overtaken
from .retention import extend_retention
from .sweeper import Found, check, next_check

__all__ = ["MessageInputs"]


@dataclass(frozen=True, slots=True)
class MessageInputs:
    """See the module."""

    runs: RunStore
    events: EventStore
    blobs: Blobs
    sender: MessageSender
    endings: Endings
    clock: Clock
    observer: Observer

    async def input_of(self, lease: Lease) -> Input | None:
        """The input that the lease's message stands for, as its run is now."""
        match message := lease.message:
            case StartRun():
                return await self._started(lease, message)
            case DoJob():
                return _job(lease, message)
            case InvocationReport():
                return await self._reported(lease, message)
            case TimerFired():
                return TimerDue(message.timer, message.step_id)
            case EventArrived():
                event = await self.events.load(message.event_id)
                return _matched(message.step_id, event) if event else None
            case ChildEnded():
                child = await self.runs.load(message.child_run_id, message.child_function_id)
                return await self.endings.result_for(message.step_id, child) if child else None
            case StepRefused():
                return ChildFinished(message.step_id, dumps({"error": message.error}), failed=True)
            case CancelRun():
                return CancelRequested(message.outcome, message.reason)
            case WatchRun():
                return await self._watched(lease)
            case _:
                raise NotImplementedError(type(message))

    async def _started(self, lease: Lease, message: StartRun) -> Input | None:
        """A start; one of a run that has ended asks, when it is sent once more, for what the end brings with it."""
        if lease.run.status.ended and not (message.again or lease.redelivered):
            return None
        return await self.endings.cancelled_parent(lease.run) or RunStarted()

    async def _reported(self, lease: Lease, report: InvocationReport) -> Input | None:
        """The answer of an invocation that was handed over."""
        run = lease.run
        if run.status.ended:
            # Its own checkpoints may have ended the run, and nobody has acted on that.
            return RunResumed("") if run.owner == report.owner else None
        answer = await answer_of(run, report, self.blobs, self.clock.now())
        if answer is None:
            # Another report of the same discovery was recorded, and relies on who has the claim by now.
            return RunResumed("") if overtaken(run, report.token) else None
        if answer.call.target == DISCOVERY:
            lease.basis = run
            return answer
        claim = await self.runs.step_claim(run, report.job)
        lease.step, lease.step_claim = (report.job, report.attempt), report.owner
        superseded = claim is not None and claim.owner != report.owner
        return None if superseded and isinstance(answer, InvocationFailed) else answer

    async def _watched(self, lease: Lease) -> Input | None:
        """The sweeper's check of a run that has lived long: ask again for what is overdue, or check again later.

        Nothing is overdue while this process has another message about the run, which it may take any time to handle:

            message 1   calls: charge ········ 20 minutes ········ charged ──────────────────── records it
            message 2                                               the sweeper: quiet for 20 minutes, no call
        """
        run = lease.run
        if run.status.ended:
            return None
        now = self.clock.now()
        following = next_check(run, now)
        await self.sender.send_at(WatchRun(run.run_id, run.function_id), following)
        known = lease.live.kept_until or run.kept_until or self.runs.keep_until(run)
        lease.live.kept_until = await extend_retention(self.runs, self.events, run, known, alive_at=following)
        if lease.live.at_work:
            return None
        found = check(run, now)
        if found is not Found.WELL and (cancelled := await self.endings.cancelled_parent(run)):
            return cancelled
        if found is Found.OVERDUE:
            lease.sweeps = True
            self.observer.rescued(run)
        return None if found is Found.WELL else RunResumed(None)


def _job(lease: Lease, message: DoJob) -> Input | None:
    """A job is due while it is the next attempt of an open step, or of the discovery that the run stands at.

    A peek that was overtaken is made as the run stands now, and so is a discovery under the current claim on the run.
    """
    run, job = lease.run, message.job
    if not job.startswith(DISCOVERY):
        due = run.open_op(job) is not None and message.attempt == run.attempt_of(job)
        return RunResumed(job) if due else None
    if job == run.discovery_job:
        return RunResumed(job) if message.attempt == run.attempt_of(job) else None
    current = bool(message.succeeds) and message.succeeds == run.owner
    return RunResumed("") if run.view.open or current else None


def _matched(step_id: str, event: Event) -> EventMatched:
    return EventMatched(step_id, event.event_id, dumps(event.wire()), event.received_at)
