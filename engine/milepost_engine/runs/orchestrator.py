"""Drives runs: load, decide, save, act – and again, while the next thing is simply to call user code once more.

A message is the run's baton. It is finished with only after what it led to was acted on; delivered again, it finds
its input applied and asks for what is still outstanding. The loser of a race stops:

    worker 1   calls discovery #3 ── saves step X ── goes on with #4
    worker 2      calls discovery #3 ──── X stands, by the same job: stops
    worker 2'     had taken the run over: worker 1 will stop before its next call, so it loads again and goes on
    worker 3      timer closed a sleep meanwhile, its plan stands under another job: loads again and asks anew

Parallel steps are joined by reading after writing. Each worker that has closed one asks for one sibling that it takes
for open; the one that finds none open goes on, and whoever writes last finds none:

    worker 1   closes A ── is B closed? no: stops
    worker 2        closes B ───────────── is A closed? yes, none is open: discovers
A sibling that another worker of the same process has in hand is not asked for: that worker looks, also when it comes
too late with its result. Both may find none open. Whoever may not be alone claims the run first, and only one can
(`RunStore.claim`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, cast

from milepost.protocol import DISCOVERY, Opcode
from milepost_engine.cel import ExpressionError
from milepost_engine.codec import Json, dumps
from milepost_engine.core.commands import Command, FinishRun, Invoke, OpenWait, SetTimer, StartRunFor
from milepost_engine.core.inputs import (
    CancelRequested,
    ChildFinished,
    EventMatched,
    Input,
    InvocationFailed,
    InvocationReturned,
    RunResumed,
    RunStarted,
    TimerDue,
)
from milepost_engine.core.machine import Decision, advance, due_discovery, follow
from milepost_engine.core.opcodes import failure_text
from milepost_engine.core.run import ClosedStep, Plan, Run, RunStatus
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
    RunMessage,
    StartRun,
    StepRefused,
    TimerFired,
    WatchRun,
)
from milepost_engine.store.runs import Claim, Liveness, RunStore
from milepost_engine.store.waits import WaitIndex

from .endings import Endings
from .invocations import Invocations
from .ownership import Lease, LiveRun
from .reports import answer_of, rebased
from .requests import build_call, looks_only
from .retention import extend_retention
from .sweeper import Found, look, next_look

__all__ = ["Orchestrator"]

_NEWS: Final = (TimerDue, EventMatched, ChildFinished)

MAX_TURNS: Final = 25_000
"""More turns than the largest run can have; a loop without progress ends here, and its message in the dead letters."""


class _NoProgress(Exception):
    """A run went round without getting anywhere."""


@dataclass
class Orchestrator:
    """See the module."""

    runs: RunStore
    events: EventStore
    waits: WaitIndex
    blobs: Blobs
    sender: MessageSender
    endings: Endings
    invocations: Invocations
    clock: Clock
    observer: Observer
    live: dict[str, LiveRun] = field(default_factory=dict)

    async def handle(self, message: RunMessage, deadline: datetime | None = None, *, redelivered: bool = False) -> None:
        """Work a message off. `deadline`: no new invocation begins after it, the baton goes back to the queue.

        `redelivered`: the message was handed out before, and whoever had it may still be at work; the run is taken
        over, so that the other one stops before its next invocation.
        """
        run_id = message.run_id
        live = self.live.setdefault(run_id, LiveRun(run_id, message.function_id))
        live.holders += 1
        try:
            reads = redelivered or not _knows(live, message)
            if reads and await live.read(self.runs) is None:
                return  # erased, or retention let it go
            if isinstance(message, StartRun) and message.again and not redelivered:
                # Sent once more in case the first was lost: nobody may drive the run, or somebody about to begin.
                # One that has ended tells its parent once more: what it told may have been lost.
                run = cast("Run", live.run)
                if run.parent is None if run.status.ended else run.discovered:
                    return
                redelivered = True
            owner = cast("Run", live.run).owner
            lease = Lease(live, owner, redelivered=redelivered, takes_over=redelivered, fresh=reads)
            given = await self._input(message, lease)
            if redelivered and given is not None and not lease.reports and self._applied(lease.run, given):
                # Whatever it led to may not have come about; everything outstanding is asked for again.
                given = RunResumed(None)
            if given is not None:
                await self._drive(lease, given, deadline)
        finally:
            live.holders -= 1
            if live.holders == 0:
                self.live.pop(run_id, None)

    def _applied(self, run: Run, given: Input) -> bool:
        """Whether a message that comes again has nothing of its own left to do."""
        if isinstance(given, RunResumed) and given.job is not None and run.open_op(given.job) is not None:
            return False
        return not advance(run, given, self.clock.now()).records

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def _drive(self, lease: Lease, given: Input, deadline: datetime | None) -> None:
        try:
            answer: Input | None = given
            for _ in range(MAX_TURNS):
                answer = await self._turn(lease, cast("Input", answer), deadline)
                if answer is None:
                    return
            raise _NoProgress(lease.run.run_id)
        finally:
            lease.let_go()

    async def _turn(self, lease: Lease, given: Input, deadline: datetime | None) -> Input | None:
        """Decide, save, act, call; the next input, or None when this message is done."""
        before, lease.basis = lease.basis or lease.run, None
        looked = _looked_only(before, given)
        decision = advance(before, given, self.clock.now())
        await self._extend_retention(lease.live, before, decision.run)
        standing = await self._save(decision, looked=looked)
        lease.fresh = lease.fresh and not decision.records
        lease.let_go()
        if standing is None:
            # A message without news came twice, or late: whoever it told first goes on.
            lease.shares = lease.shares or looked or (isinstance(given, _NEWS) and not decision.records)
            invoke = await self._follow(lease, before, decision)
        elif standing == _job_of(given) and not (lease.redelivered or looked or before.view.is_branch(standing)):
            return None
        else:
            # A branch that another process has closed: a worker of this one may have left it to us to look.
            lease.shares = lease.shares or looked or before.view.is_branch(standing)
            invoke = await self._reread(lease)
        return await self._begin(lease, invoke, deadline)

    async def _begin(self, lease: Lease, invoke: Invoke | None, deadline: datetime | None) -> Input | None:
        """Make sure that an invocation is wanted and this message's own, and make it."""
        while (invoke := self._current(lease.run, invoke)) is not None and self._take(lease, invoke):
            discovers = invoke.job.startswith(DISCOVERY)
            # A cancellation takes effect between steps, and so does a take-over: one small read before each call.
            liveness = await self._liveness(lease, invoke.job)
            if liveness is None or liveness.status.ended or (discovers and self._is_anothers(lease, liveness)):
                return None
            if liveness.closed:
                return await self._resumed(lease, invoke.job)
            if discovers and lease.takes_over:
                if not await self._take_over(lease):
                    return None
                lease.let_go()
                continue
            run = lease.run
            if self._current(run, invoke) == invoke:
                claim = await self._own(lease, run, invoke) if discovers else Claim.MINE
                if claim is Claim.LOST:
                    return None
                if claim is Claim.MINE:
                    lease.take(invoke.job)
                    if deadline is None or self.clock.now() < deadline:
                        return await self._invoke(lease, run, invoke)
                    await self._send_job(run, invoke, None)
                    return None
                invoke = await self._reread(lease)
            lease.let_go()
        return None

    async def _liveness(self, lease: Lease, job: str) -> Liveness | None:
        """What must be known before a call. A run that was read just now need not be asked again."""
        if not lease.fresh:
            return await self.runs.liveness(lease.run, job)
        lease.fresh = False
        return Liveness(lease.run.status, lease.run.owner, job in lease.run.closed)

    def _take(self, lease: Lease, invoke: Invoke) -> bool:
        """Take a job up. Where the run must be claimed, the claim alone decides who does it."""
        claims = lease.shares and not lease.run.view.open and invoke.job.startswith(DISCOVERY)
        return claims or lease.take(invoke.job)

    def _is_anothers(self, lease: Lease, liveness: Liveness) -> bool:
        """Whether the run has been taken over since this message has it."""
        if liveness.owner == lease.owner or lease.takes_over or lease.shares:
            return False
        if not lease.reports:
            return True
        # What this message told was taken in, so whoever has taken the run over will find that out and stop.
        lease.owner = liveness.owner
        return False

    async def _take_over(self, lease: Lease) -> bool:
        """Make the run this message's, and learn what was recorded until then; False when it is another's now.

        Whoever had this message before may still be at work, and stops before its next discovery:

            worker 1   calls discovery #3 ────── saves X ─────────────── sees the new owner: stops
            worker 2         reads the run: no X ── takes it over ── reads again: X is there, calls #4
        """
        lease.owner = (await self.runs.take_over(lease.run, self.invocations.fresh_id())).owner
        lease.takes_over = lease.shares = False
        fresh = await lease.live.read(self.runs)
        lease.fresh = True
        return fresh is not None and fresh.owner == lease.owner

    async def _own(self, lease: Lease, run: Run, invoke: Invoke) -> Claim:
        """Make the run this message's before a discovery, where another message may be about to begin the same."""
        if lease.shares and not run.view.open:
            owner = self.invocations.fresh_id()
            claim = await self.runs.claim(run, owner)
            if claim is Claim.MINE:
                lease.owner, lease.shares = owner, False
            return claim
        if run.checkpoint and await self.invocations.hands_over(run, invoke.job):
            # By its owner such an invocation is known again, wherever its own checkpoints have brought the run.
            lease.owner = (await self.runs.take_over(run, self.invocations.fresh_id())).owner
        return Claim.MINE

    async def _follow(self, lease: Lease, before: Run, decision: Decision) -> Invoke | None:
        """Do what a decision leads to, now that it is written; returns the invocation to go on with."""
        commands = decision.commands
        if decision.records:
            undisturbed = lease.live.wrote(decision.records, before, decision.run)
            last = decision.records[-1]
            if (
                isinstance(last, ClosedStep)
                and lease.run.plan_of(last.step_id)
                and lease.run.status is RunStatus.RUNNING
            ):
                lease.shares = lease.shares or lease.run.view.is_branch(last.step_id)
                undisturbed = not await self._meet(lease.live) and undisturbed
                if not lease.run.in_flight:
                    return await self._reread(lease)
            if not undisturbed and isinstance(last, ClosedStep | Plan):
                commands = follow(lease.run, decision.records, self.clock.now())
        return await self._act(lease.run, commands)

    async def _meet(self, live: LiveRun) -> bool:
        """Learn of siblings that other processes have closed, up to one that is open; whether there was any."""
        learned = False
        while live.run is not None and live.run.in_flight:
            flying = [op.step_id for op in live.run.open_ops if op.kind is Opcode.STEP_PLANNED]
            if not live.jobs.isdisjoint(flying):
                break  # under way in this process: whoever closes it looks again
            step = await self.runs.closed_step(live.run_id, flying[-1])
            if step is None:
                break
            live.learn(step)
            learned = True
        return learned

    async def _reread(self, lease: Lease) -> Invoke | None:
        """Read the run anew; the discovery that it waits for, if any, and if it is this message's to begin."""
        fresh = await lease.live.read(self.runs)
        if fresh is None:
            return None
        lease.fresh = True
        if lease.shares:
            lease.owner = fresh.owner
            return due_discovery(fresh, self.clock.now()) if fresh.view.sees_branches else None
        if lease.owner != fresh.owner and not lease.redelivered:
            return None
        return due_discovery(fresh, self.clock.now())

    def _current(self, run: Run, invoke: Invoke | None) -> Invoke | None:
        """The invocation that is wanted now, after others may have moved the run on."""
        if invoke is None or run.status.ended:
            return None
        if not invoke.job.startswith(DISCOVERY):
            return invoke if run.open_op(invoke.job) is not None else None
        return invoke if invoke.job == run.discovery_job else due_discovery(run, self.clock.now())

    async def _extend_retention(self, live: LiveRun, before: Run, after: Run) -> None:
        known = live.kept_until or before.kept_until or self.runs.keep_until(before)
        live.kept_until = await extend_retention(self.runs, self.events, after, known)

    async def _save(self, decision: Decision, *, looked: bool) -> str | None:
        """None when every record was written; else the job of the record that stands already."""
        if not decision.records:
            return None
        standing = await self.runs.save(decision, looked=looked)
        if standing is None:
            for record in decision.records:
                self.observer.recorded(decision.run, record)
        return standing

    # --- messages → inputs --------------------------------------------------------------------------------------------

    async def _input(self, message: RunMessage, lease: Lease) -> Input | None:
        run = lease.run
        match message:
            case StartRun():
                return RunStarted()
            case DoJob():
                return self._job(lease, message.job)
            case InvocationReport():
                return await self._reported(message, lease)
            case TimerFired():
                return TimerDue(message.timer, message.step_id)
            case EventArrived():
                return await self._matched(message.step_id, message.event_id)
            case ChildEnded():
                child = await self.runs.load(message.child_run_id, message.child_function_id)
                return await self.endings.result_for(message.step_id, child) if child else None
            case StepRefused():
                return ChildFinished(message.step_id, dumps({"error": message.error}), failed=True)
            case CancelRun():
                return CancelRequested(message.outcome, message.reason)
            case WatchRun():
                return await self._watch(run)
            case _:
                raise NotImplementedError(type(message))

    def _job(self, lease: Lease, job: str) -> Input | None:
        """The input of a job's message. A discovery that was overtaken is left only what branches have closed.

        What it would have planned is planned: whoever did that has the steps in hand, or their messages are under way.
        """
        if lease.redelivered or not job.startswith(DISCOVERY) or job == lease.run.discovery_job:
            return RunResumed(job)
        lease.shares = True
        return RunResumed("") if lease.run.view.sees_branches else None

    async def _reported(self, message: InvocationReport, lease: Lease) -> Input | None:
        """The answer of an invocation that nobody waited for. Told before, it leads to whatever it led to then."""
        run, lease.reports = lease.run, True
        answer = await answer_of(run, message, self.blobs, self.clock.now())
        if answer is not None:
            lease.basis = run if answer.call.target == DISCOVERY else None
            return answer
        job = message.job
        left_at = message.at or job if job.startswith(DISCOVERY) else job
        return RunResumed(left_at) if lease.redelivered else None

    async def _matched(self, step_id: str, event_id: str) -> Input | None:
        event = await self.events.load(event_id)
        return _event_input(step_id, event) if event else None

    async def _watch(self, run: Run) -> Input | None:
        """The sweeper's look at a run that has lived long: ask again for what is overdue, or look again later."""
        if run.status.ended:
            return None
        now = self.clock.now()
        await self.sender.send_at(WatchRun(run.run_id, run.function_id), next_look(run, now))
        if self.live[run.run_id].jobs:
            return None
        found = look(run, now)
        if found is Found.OVERDUE:
            self.observer.rescued(run)
        return None if found is Found.WELL else RunResumed(None)

    # --- commands ---------------------------------------------------------------------------------------------------

    async def _act(self, run: Run, commands: Sequence[Command]) -> Invoke | None:
        """Do what the machine asks; returns the one invocation to go on with, if there is just one that is due."""
        now = self.clock.now()
        due = [command for command in commands if isinstance(command, Invoke) and command.at <= now]
        inline = due[0] if len(due) == 1 else None
        for command in commands:
            match command:
                case Invoke():
                    if command is not inline:
                        await self._send_job(run, command, command.at)
                case SetTimer():
                    timer = TimerFired(run.run_id, run.function_id, timer=command.kind, step_id=command.step_id)
                    await self.sender.send_at(timer, command.due_at)
                case OpenWait():
                    await self._open_wait(run, command)
                case StartRunFor():
                    await self.endings.invoke(run, command.op)
                case FinishRun():
                    await self.endings.finish(run)
        return inline

    async def _send_job(self, run: Run, invoke: Invoke, at: datetime | None) -> None:
        message = DoJob(run.run_id, run.function_id, job=invoke.job, attempt=invoke.attempt)
        await self.sender.send_at(message, at or self.clock.now())

    async def _open_wait(self, run: Run, command: OpenWait) -> None:
        trigger = await self._trigger(run)
        try:
            found = await self.waits.open(run, command.op, trigger, command.opened_at, self.clock.now())
        except ExpressionError as error:
            problem = failure_text("InvalidExpression", f"Step {command.op.name!r} cannot wait: {error}")
            await self.sender.send(StepRefused(run.run_id, run.function_id, step_id=command.op.step_id, error=problem))
            return
        for event in found[:1]:
            await self.sender.send(
                EventArrived(run.run_id, run.function_id, step_id=command.op.step_id, event_id=event.event_id)
            )

    async def _trigger(self, run: Run) -> dict[str, Json]:
        event = await self.events.load(run.event_ids[0])
        return event.wire() if event else {}

    # --- invocations --------------------------------------------------------------------------------------------------

    async def _invoke(self, lease: Lease, run: Run, invoke: Invoke) -> Input | None:
        """Call user code with the run as given. None: the call was handed over, or another worker has the run now."""
        call = build_call(run, invoke.job, invoke.attempt, self.clock.now())
        self.observer.invoked(run, call)
        answer = await self.invocations.make(run, call, lease.owner, lease.live.texts)
        if answer is None:
            return None  # handed over: its report goes on
        lease.reports = False
        if looks_only(run, call.job):
            lease.basis = run
            after = await self.runs.liveness(run)
            return answer if after is not None and after.owner == lease.owner else None
        discovers = call.target == DISCOVERY
        if run.checkpoint and discovers:
            # Its own checkpoints have moved the run on meanwhile.
            fresh = await lease.live.read_records(self.runs)
            return None if fresh is None else rebased(fresh, answer)
        lease.basis = run if discovers else None
        return answer

    async def _resumed(self, lease: Lease, job: str) -> Input | None:
        """Read the run anew and ask what is outstanding about a job."""
        fresh = await lease.live.read(self.runs)
        if fresh is None:
            return None
        lease.let_go()
        lease.owner, lease.shares = fresh.owner, True
        return RunResumed(job)


def _looked_only(run: Run, given: Input) -> bool:
    return isinstance(given, InvocationReturned | InvocationFailed) and looks_only(run, given.call.job)


def _knows(live: LiveRun, message: RunMessage) -> bool:
    """Whether what is known of a run is enough for a message, so that it need not be read: a planned step's next try.

    Of a thousand parallel steps each would read the other 999.
    """
    if live.run is None or not isinstance(message, DoJob) or live.run.open_op(message.job) is None:
        return False
    return message.attempt == live.run.attempt_of(message.job)


def _job_of(given: Input) -> str | None:
    """The job that an input is about; a record standing under the same job means that the same work was done."""
    match given:
        case InvocationReturned() | InvocationFailed():
            return given.call.job
        case TimerDue() | EventMatched() | ChildFinished():
            return given.step_id
        case RunResumed():
            return given.job
        case _:
            return ""


def _event_input(step_id: str, event: Event) -> EventMatched:
    return EventMatched(step_id, event.event_id, dumps(event.wire()), event.received_at)
