"""Does what the machine asks for. Each act may be done again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from milepost.protocol import DISCOVERY
from milepost_engine.cel import ExpressionError
from milepost_engine.codec import Json
from milepost_engine.core.commands import Command, FinishRun, Invoke, OpenWait, SetTimer, StartAgain, StartRunFor
from milepost_engine.core.opcodes import failure_text
from milepost_engine.core.run import Run
from milepost_engine.ports import Clock
from milepost_engine.store.events import EventStore
from milepost_engine.store.messages import DoJob, EventArrived, MessageSender, StepRefused, TimerFired
from milepost_engine.store.runs import RunStore
from milepost_engine.store.wait_matching import WaitIndex

from .endings import Endings
from .ownership import Lease
from .sweeper import may_be_at_work

__all__ = ["Acting"]

_EVENT_FIRST: Final = timedelta(minutes=1)
"""A wait that has found its event by looking back does not time out before the event's message has had this long."""


@dataclass(frozen=True, slots=True)
class Acting:
    """See the module."""

    runs: RunStore
    events: EventStore
    waits: WaitIndex
    sender: MessageSender
    endings: Endings
    clock: Clock

    async def act(self, lease: Lease, commands: Sequence[Command]) -> Invoke | None:
        """Do what the machine asks; returns the one invocation to continue with, if just one is due.

        The retry of a planned step is a message of its own, even if it is due at once: it succeeds the claim of the
        attempt before.
        """
        now, run = self.clock.now(), lease.run
        due = [command for command in commands if isinstance(command, Invoke) and command.at <= now]
        inline = due[0] if len(due) == 1 and not lease.has_called(due[0].job) else None
        found: set[str] = set()
        for command in commands:
            match command:
                case Invoke():
                    if command is not inline:
                        await self.send_job(lease, command, command.at)
                case SetTimer() if command.step_id in found:
                    await self.set_timer(run, replace(command, due_at=max(command.due_at, now + _EVENT_FIRST)))
                case SetTimer():
                    await self.set_timer(run, command)
                case OpenWait():
                    found |= await self._open_wait(run, command)
                case StartRunFor():
                    await self.endings.invoke(run, command.op)
                case StartAgain():
                    await self.endings.invoke_again(run, command.op)
                case FinishRun():
                    await self.endings.finish(run)
        return inline

    async def set_timer(self, run: Run, timer: SetTimer) -> None:
        message = TimerFired(run.run_id, run.function_id, timer=timer.kind, step_id=timer.step_id)
        await self.sender.send_at(message, timer.due_at)

    async def send_job(self, lease: Lease, invoke: Invoke, at: datetime | None) -> None:
        """Have a separate message make an attempt of a job; it succeeds the claim that this message has on it."""
        run = lease.run
        succeeds = await self._claim_on(lease, run, invoke)
        if succeeds is None:
            return
        message = DoJob(run.run_id, run.function_id, job=invoke.job, attempt=invoke.attempt, succeeds=succeeds)
        await self.sender.send_at(message, at or self.clock.now())

    async def _claim_on(self, lease: Lease, run: Run, invoke: Invoke) -> str | None:
        """The claim that the lease has on a job; "" when nobody has one. None: another message has it."""
        if held := lease.claim_on(invoke.job):
            return held
        if not (lease.redelivered or lease.sweeps):
            return ""
        if invoke.job.startswith(DISCOVERY):
            if lease.sweeps or run.claimed_by != lease.message.message_id:
                return run.owner if lease.sweeps else ""
            return run.owner if await self.withdraws(lease, run, run.owner) else None
        claim = await self.runs.step_claim(run, invoke.job)
        if claim is None:
            return ""
        if lease.sweeps:
            return None if may_be_at_work(run, claim, self.clock.now()) else claim.owner
        if claim.message_id != lease.message.message_id:
            return None
        over = claim.attempt < invoke.attempt
        return claim.owner if over or await self.withdraws(lease, run, claim.owner) else None

    async def withdraws(self, lease: Lease, run: Run, claim: str) -> bool:
        """Whether a redelivered message may use its claim again: not when the call under it has begun at the app."""
        if not (lease.redelivered and run.target.get("reports")) or lease.withdrawn == claim:
            return True
        if not await self.runs.withdraw_call(run, claim):
            return False
        lease.withdrawn = claim
        return True

    async def _open_wait(self, run: Run, command: OpenWait) -> set[str]:
        """Open a wait; its step, if an event for it has been received already."""
        trigger = await self._trigger(run)
        try:
            found = await self.waits.open(run, command.op, trigger, command.opened_at, self.clock.now())
        except ExpressionError as error:
            problem = failure_text("InvalidExpression", f"Step {command.op.name!r} cannot wait: {error}")
            await self.sender.send(StepRefused(run.run_id, run.function_id, step_id=command.op.step_id, error=problem))
            return set()
        for event in found[:1]:
            await self.sender.send(
                EventArrived(run.run_id, run.function_id, step_id=command.op.step_id, event_id=event.event_id)
            )
        return {command.op.step_id} if found else set()

    async def _trigger(self, run: Run) -> dict[str, Json]:
        event = await self.events.load(run.event_ids[0])
        return event.wire() if event else {}
