"""Drives runs: load, decide, save, act – and again, while the next thing is simply to call user code once more.

A message is done with only after what it led to was acted on. Who may call user code stands in `ownership.py`; what a
message means to its run, in `message_inputs.py`; how commands are carried out, in `acting.py`.

Parallel steps are joined by reading after writing. Each worker that has closed one reads one sibling that it takes for
open; the one that finds none open may continue, and whoever writes last finds none:

    worker 1   closes A ── is B closed? no: done
    worker 2        closes B ───────────── is A closed? yes, none is open: claims the run, discovers
Both may find none open; then the claim decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from milepost.protocol import DISCOVERY, MAX_STEPS_CEILING, Opcode
from milepost_engine.core.commands import Invoke, SetTimer
from milepost_engine.core.inputs import Input, InvocationFailed, InvocationReturned, RunResumed
from milepost_engine.core.machine import Decision, advance, due_discovery, follow
from milepost_engine.core.outstanding import outstanding
from milepost_engine.core.owed import closed_unseen, owed, owes_a_discovery
from milepost_engine.core.run import ClosedStep, Plan, Run, RunStatus
from milepost_engine.observe import Observer
from milepost_engine.ports import Clock, Slots, Unbounded
from milepost_engine.store.events import EventStore
from milepost_engine.store.messages import DoJob, RunMessage
from milepost_engine.store.runs import ClaimResult, Liveness, RunStore, StepClaim

from .acting import Acting
from .invocations import Invocations
from .message_inputs import MessageInputs
from .ownership import NEXT, Lease, LiveRun, Next, Saved
from .reports import rebased
from .requests import build_call, is_peek
from .retention import extend_retention
from .sweeper import may_be_at_work

__all__ = ["Orchestrator"]

_ANSWERS: Final = (InvocationReturned, InvocationFailed)

MAX_ROUNDS: Final = 3 * MAX_STEPS_CEILING
"""More rounds than the largest run can have; a loop without progress ends here, and its message in the dead letters."""


class _NoProgress(Exception):
    """A run went round without getting anywhere."""


@dataclass
class Orchestrator:
    """See the module."""

    runs: RunStore
    events: EventStore
    inputs: MessageInputs
    acting: Acting
    invocations: Invocations
    clock: Clock
    observer: Observer
    slots: Slots = field(default_factory=Unbounded)
    live: dict[str, LiveRun] = field(default_factory=dict)

    async def handle(self, message: RunMessage, deadline: datetime | None = None, *, redelivered: bool = False) -> None:
        """Handle a message. `deadline`: no new invocation begins after it, the queue gets a message instead.

        `redelivered`: the message was delivered before, and whoever had it may still be at work.
        """
        live = self.live.setdefault(message.run_id, LiveRun(message.run_id, message.function_id))
        live.holders += 1
        try:
            lease = Lease(live, message, redelivered)
            if (redelivered or not _knows(live, message)) and await lease.read(self.runs) is None:
                return  # erased, or retention removed it
            given = await self.inputs.input_of(lease)
            live.at_work += 1
            try:
                await self._drive(lease, given, deadline)
            finally:
                live.at_work -= 1
        finally:
            live.holders -= 1
            if live.holders == 0:
                self.live.pop(message.run_id, None)

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def _drive(self, lease: Lease, given: Input | None, deadline: datetime | None) -> None:
        if given is None:
            given = await self._begin(lease, await self._act_on_owed(lease), deadline) if lease.redelivered else None
        for _ in range(MAX_ROUNDS):
            if given is None:
                return
            given = await self._round(lease, given, deadline)
        raise _NoProgress(lease.live.run_id)

    async def _round(self, lease: Lease, given: Input, deadline: datetime | None) -> Input | None:
        """Decide, save, act, call; the next input, or None when this message is done."""
        before, lease.basis = lease.basis or lease.run, None
        peeked = _from_peek(before, given)
        decision = advance(before, given, self.clock.now(), by=lease.message.message_id)
        await self._extend_retention(lease.live, before, decision.run)
        saved = await self._save(lease, decision, given, peeked=peeked)
        lease.fresh = lease.fresh and not decision.records
        # A peek has no claim: where it finds another's record, it was overtaken.
        after = Next.READ_AGAIN if peeked and saved is Saved.STOOD else NEXT[lease.part, saved]
        return await self._begin(lease, await self._follow(lease, after, given, before, decision), deadline)

    async def _follow(self, lease: Lease, after: Next, given: Input, before: Run, decision: Decision) -> Invoke | None:
        """Do what follows from a decision and its saving; returns the invocation to continue with."""
        match after:
            case Next.ACT:
                return await self._act_on(lease, before, decision)
            case Next.ACT_IF_ASKED:
                commands = decision.commands
                if not lease.asks:
                    commands = tuple(command for command in commands if isinstance(command, SetTimer))
                return await self.acting.act(lease, commands)
            case Next.OWED:
                inline = await self._act_on_owed(lease)
                if not lease.asks or lease.run.status.ended:
                    return inline
                # What it asked for may not have come about: nobody else has, if its claim can be had.
                return inline or await self.acting.act(lease, decision.commands)
            case Next.READ_AGAIN_OWED:
                return await self._act_on_owed(lease) if await lease.read(self.runs) is not None else None
            case Next.READ_AGAIN:
                return await self._reread(lease, job=given.call.job if isinstance(given, _ANSWERS) else "", stood=True)
            case Next.END:
                return None

    async def _act_on_owed(self, lease: Lease) -> Invoke | None:
        """Ask again for what the message's own records led to."""
        run, message_id = lease.run, lease.message.message_id
        lease.closed = lease.closed or closed_unseen(run, message_id)
        return await self.acting.act(lease, owed(run, message_id, self.clock.now()))

    async def _act_on(self, lease: Lease, before: Run, decision: Decision) -> Invoke | None:
        """Do what a decision leads to, now that it is written."""
        commands = decision.commands
        if decision.records:
            undisturbed = lease.live.wrote(decision.records, before, decision.run)
            last = decision.records[-1]
            if isinstance(last, ClosedStep) and lease.run.plan_of(last.step_id):
                # Others may be about to continue, too: the claim on the run is asked for anew.
                lease.closed, lease.claim = True, ""
                if lease.run.status is RunStatus.RUNNING:
                    undisturbed = not await self._meet(lease.live) and undisturbed
                    lease.joins = not lease.run.in_flight and lease.run.view.is_branch(last.step_id)
            if not undisturbed and isinstance(last, ClosedStep | Plan):
                commands = follow(lease.run, decision.records, self.clock.now())
        return await self.acting.act(lease, commands)

    async def _meet(self, live: LiveRun) -> bool:
        """Learn of siblings that other processes have closed, up to one that is open; whether there was any."""
        learned = False
        while live.run is not None and live.run.in_flight:
            flying = [op.step_id for op in live.run.open_ops if op.kind is Opcode.STEP_PLANNED]
            step = await self.runs.closed_step(live.run_id, flying[-1])
            if step is None:
                break
            live.learn(step)
            learned = True
        return learned

    async def _reread(self, lease: Lease, *, job: str = "", stood: bool = False) -> Invoke | None:
        """Read the run anew; the discovery that it waits for, if any, and if it may be this message's to begin.

        `job`: the discovery whose record stood already. Its owner also asks for what that record planned. `stood`: some
        record did, so that another message is at work for the same job, and what follows is to be claimed.
        """
        fresh = await lease.read(self.runs)
        if fresh is None:
            return None
        # The header is read before the records: somebody may have claimed the run between the two.
        lease.fresh = False
        if lease.claim and lease.claim == fresh.owner:
            if stood:
                lease.asks_anew()
            return await self.acting.act(lease, outstanding(fresh, job, self.clock.now()))
        due = due_discovery(fresh, self.clock.now())
        mine = not lease.claim and (fresh.view.open or owes_a_discovery(fresh, lease.message.message_id))
        return await self.acting.act(lease, [due]) if due and mine else None

    async def _extend_retention(self, live: LiveRun, before: Run, after: Run) -> None:
        known = live.kept_until or before.kept_until or self.runs.keep_until(before)
        live.kept_until = await extend_retention(self.runs, self.events, after, known)

    async def _save(self, lease: Lease, decision: Decision, given: Input, *, peeked: bool) -> Saved:
        if not decision.records:
            return Saved.NOTHING
        owner = lease.claim_of_answer() if isinstance(given, _ANSWERS) else None
        if await self.runs.save(decision, peeked=peeked, owner=owner) is not None:
            return Saved.STOOD
        for record in decision.records:
            self.observer.recorded(decision.run, record)
        return Saved.WROTE

    # --- invocations --------------------------------------------------------------------------------------------------

    async def _begin(self, lease: Lease, invoke: Invoke | None, deadline: datetime | None) -> Input | None:
        """Make an invocation when there is a slot for it, if it is still wanted then and this message's own."""
        if (invoke := self._current(lease.run, invoke)) is None:
            return None
        function_id = lease.run.function_id
        if await self.slots.take(function_id):
            lease.fresh = False  # it waited: much may have happened
        try:
            return await self._make(lease, invoke, deadline)
        finally:
            self.slots.give_back(function_id)

    async def _make(self, lease: Lease, invoke: Invoke | None, deadline: datetime | None) -> Input | None:
        while (invoke := self._current(lease.run, invoke)) is not None:
            run = lease.run
            claimed = await self._claim(lease, run, invoke)
            if claimed is ClaimResult.LOST:
                return None
            if claimed is ClaimResult.OUTDATED:
                invoke = await self._reread(lease)
                continue
            liveness = await self._liveness(lease, invoke.job)
            if liveness is None or liveness.status.ended:
                return None
            if self._is_anothers(lease, run, invoke, liveness):
                if lease.claim:
                    return None
                # A peek has no claim to lose: the owner that is known here may only be an older one.
                invoke = await self._reread(lease)
                continue
            if liveness.closed:
                return None if not lease.redelivered else await self._owed_after(lease, deadline)
            if self._current(lease.run, invoke) != invoke:
                continue
            if deadline is not None and self.clock.now() >= deadline:
                await self.acting.send_job(lease, invoke, None)
                return None
            return await self._invoke(lease, lease.run, invoke)
        return None

    async def _owed_after(self, lease: Lease, deadline: datetime | None) -> Input | None:
        """A step turned out to be closed already: the message owes what follows if it was the one that closed it."""
        if await lease.read(self.runs) is None:
            return None
        return await self._make(lease, await self._act_on_owed(lease), deadline)

    async def _claim(self, lease: Lease, run: Run, invoke: Invoke) -> ClaimResult:
        """Become the one who may call user code for a job (laws 1 and 2). A peek needs no claim."""
        if not invoke.job.startswith(DISCOVERY):
            return await self._claim_step(lease, run, invoke)
        if is_peek(run, invoke.job) or lease.may_call(run, invoke):
            return ClaimResult.MINE
        again = not lease.claim and run.claimed_by == lease.message.message_id
        if again and not await self.acting.withdraws(lease, run, run.owner):
            return ClaimResult.LOST
        owner = self.invocations.fresh_id()
        # A step that a discovery has seen by now gives no right any more: whoever made that discovery continues.
        closed = lease.closed and closed_unseen(run, lease.message.message_id)
        now = self.clock.now()
        claimed = await self.runs.claim_run(run, owner, lease.claimant(run.owner, now), closed=closed)
        if claimed is ClaimResult.MINE:
            lease.owns(owner, invoke, now)
            if lease.redelivered or lease.sweeps or lease.joins:
                # Whoever had the run before, or its other branches, may have written something since it was read.
                lease.joins, lease.unverified = False, True
                return ClaimResult.OUTDATED
            lease.fresh = True
        return claimed

    async def _claim_step(self, lease: Lease, run: Run, invoke: Invoke) -> ClaimResult:
        if lease.step == (invoke.job, invoke.attempt):
            return ClaimResult.MINE
        owner, now = self.invocations.fresh_id(), self.clock.now()
        known = await self._known_claim(lease, run, invoke.job)
        if known is not None and lease.sweeps and may_be_at_work(run, known, now):
            return ClaimResult.LOST
        again = known is not None and (known.message_id, known.attempt) == (lease.message.message_id, invoke.attempt)
        if known is not None and again and not await self.acting.withdraws(lease, run, known.owner):
            return ClaimResult.LOST
        claimant = lease.claimant(known.owner if known else "", now)
        if not await self.runs.claim_step(run, invoke.job, invoke.attempt, owner, claimant):
            return ClaimResult.LOST
        lease.step, lease.step_claim = (invoke.job, invoke.attempt), owner
        # Where somebody had the claim before, the step may have been closed since the run was read.
        lease.fresh = lease.fresh and not lease.redelivered and invoke.attempt == 0 and not lease.sweeps
        return ClaimResult.MINE

    async def _known_claim(self, lease: Lease, run: Run, job: str) -> StepClaim | None:
        """The claim on a step, where more must be known of it than a conditional write can compare."""
        looks = lease.sweeps or (lease.redelivered and run.target.get("reports"))
        return await self.runs.step_claim(run, job) if looks else None

    def _is_anothers(self, lease: Lease, run: Run, invoke: Invoke, liveness: Liveness) -> bool:
        """Whether the run has another owner than this message knows (law 3)."""
        if not invoke.job.startswith(DISCOVERY):
            return False
        return liveness.owner != (lease.claim or run.owner)

    async def _liveness(self, lease: Lease, job: str) -> Liveness | None:
        """What must be known before a call. A run that was read or claimed just now need not be asked again."""
        if not lease.fresh:
            return await self.runs.liveness(lease.run, job)
        lease.fresh = False
        return Liveness(lease.run.status, lease.run.owner, job in lease.run.closed)

    def _current(self, run: Run, invoke: Invoke | None) -> Invoke | None:
        """The invocation that is wanted now, after others may have moved the run on."""
        if invoke is None or run.status.ended:
            return None
        if not invoke.job.startswith(DISCOVERY):
            return invoke if run.open_op(invoke.job) is not None else None
        return invoke if invoke.job == run.discovery_job else due_discovery(run, self.clock.now())

    async def _invoke(self, lease: Lease, run: Run, invoke: Invoke) -> Input | None:
        """Call user code with the run as given. None: the call was handed over, or the run has another owner now."""
        call = build_call(run, invoke.job, invoke.attempt, self.clock.now())
        discovers, peeks = call.target == DISCOVERY, is_peek(run, call.job)
        owner = (lease.claim or run.owner) if discovers else lease.step_claim
        self.observer.invoked(run, call)
        answer = await self.invocations.make(run, call, owner, lease.live.texts)
        if answer is None or not discovers:
            return answer  # None: handed over, and its report continues
        if run.checkpoint and not peeks:
            return await self._after_checkpoints(lease, answer)
        lease.basis = run
        after = await self.runs.liveness(run) if peeks else None
        return None if peeks and (after is None or after.owner != owner) else answer

    async def _after_checkpoints(self, lease: Lease, answer: InvocationReturned | InvocationFailed) -> Input | None:
        """The answer of a checkpointing invocation, on the run as its own checkpoints have left it."""
        fresh = await lease.read(self.runs)
        if fresh is None or fresh.owner != lease.claim:
            return None
        # Ended by its own checkpoints (a limit), or cancelled: what the end brings with it is asked for in either case.
        return RunResumed("") if fresh.status.ended else rebased(fresh, answer)


def _from_peek(run: Run, given: Input) -> bool:
    return isinstance(given, _ANSWERS) and is_peek(run, given.call.job)


def _knows(live: LiveRun, message: RunMessage) -> bool:
    """Whether what is known of a run is enough for a message, so that it need not be read: a planned step's attempt.

    Of a thousand parallel steps each would read the other 999.
    """
    if live.run is None or not isinstance(message, DoJob) or live.run.open_op(message.job) is None:
        return False
    return message.attempt == live.run.attempt_of(message.job)
