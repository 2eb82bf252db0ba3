"""Cancels a run where the cancellation is accepted, so that a run that waits its turn never starts.

The message is sent first: it carries out what the end brings with it, and decides the cancellation itself if this
process stops in between.
"""

from __future__ import annotations

from dataclasses import dataclass

from milepost_engine.core.inputs import CancelRequested
from milepost_engine.core.machine import advance
from milepost_engine.observe import Observer
from milepost_engine.ports import Clock
from milepost_engine.store.messages import CancelRun, MessageSender
from milepost_engine.store.runs import RunStore

__all__ = ["Cancelling"]


@dataclass(frozen=True, slots=True)
class Cancelling:
    """See the module."""

    runs: RunStore
    sender: MessageSender
    clock: Clock
    observer: Observer

    async def cancel(self, *messages: CancelRun) -> None:
        """End the runs that the messages name, unless they have ended."""
        await self.sender.send(*messages)
        for message in messages:
            run = await self.runs.load(message.run_id, message.function_id)
            if run is None or run.status.ended:
                continue
            decision = advance(run, CancelRequested(message.outcome, message.reason), self.clock.now())
            if await self.runs.save(decision) is None:
                for record in decision.records:
                    self.observer.recorded(decision.run, record)
