"""Live updates for any number of listeners, as rows for lists.

A listener that reads too slowly loses the oldest updates and gets one "lost" update; the engine never waits for it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from milepost.protocol import Opcode
from milepost_engine.core.ids import to_ms
from milepost_engine.core.inputs import Call
from milepost_engine.core.run import ClosedStep, FailedAttempt, Plan, Record, Run, RunBegun, RunEnded
from milepost_engine.observe import Observer, Silent
from milepost_engine.operations.queries import iso
from milepost_engine.store.events import Event

__all__ = ["Listener", "Live", "LiveUpdate", "Several", "live_row"]

BACKLOG: Final = 1000
REMEMBERED_EVENTS: Final = 5000


@dataclass(frozen=True, slots=True)
class LiveUpdate:
    """One update; `kind` is "run", "received", "log", "app" or "lost"."""

    kind: str
    row: Mapping[str, object]


@dataclass(eq=False)
class Listener:
    """One reader of updates."""

    updates: deque[LiveUpdate] = field(default_factory=lambda: deque(maxlen=BACKLOG))
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    closed: bool = False
    lost: int = 0

    def put(self, update: LiveUpdate) -> None:
        self.lost += len(self.updates) == BACKLOG
        self.updates.append(update)
        self.wake.set()

    def close(self) -> None:
        self.closed = True
        self.wake.set()

    async def follow(self, quiet_seconds: float) -> AsyncIterator[LiveUpdate | None]:
        """Updates in order; None after each quiet interval, for a keep-alive."""
        while not self.closed:
            if self.lost:
                lost, self.lost = self.lost, 0
                yield LiveUpdate("lost", {"count": lost})
            while self.updates:
                yield self.updates.popleft()
            self.wake.clear()
            try:
                async with asyncio.timeout(quiet_seconds):
                    await self.wake.wait()
            except TimeoutError:
                yield None


def live_row(run: Run, changed: str) -> dict[str, object]:
    """A run as a list row, with what just changed."""
    ended = run.ended
    return {
        "run_id": run.run_id,
        "function_id": run.function_id,
        "app_id": run.app_id,
        "status": run.status.value,
        "queued_at": iso(run.queued_at),
        "ended_at": iso(ended.ended_at) if ended else None,
        "duration_ms": to_ms(ended.ended_at) - to_ms(run.queued_at) if ended else None,
        "event_id": run.event_ids[0],
        "event_name": run.event_name,
        "origin_run_id": run.origin_run_id or None,
        "changed": changed,
    }


class Live(Silent):
    """The observer behind live updates. Also remembers recent events' runs and ended waits."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._started: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._waits_ended: OrderedDict[str, list[dict[str, str]]] = OrderedDict()

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        listener = Listener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def close(self) -> None:
        """End every stream."""
        for listener in self._listeners:
            listener.close()

    def publish(self, kind: str, row: Mapping[str, object]) -> None:
        for listener in self._listeners:
            listener.put(LiveUpdate(kind, row))

    def publish_log(self, run_id: str) -> None:
        """Announce that a run's code has logged."""
        self.publish("log", {"run_id": run_id})

    def started_by(self, event_id: str) -> tuple[str, ...] | None:
        """The runs that an event started; None when it is not processed yet or forgotten."""
        return self._started.get(event_id)

    def waits_ended(self, event_id: str) -> list[dict[str, str]] | None:
        """The waits that an event ended: run, function and step; None when unprocessed or forgotten."""
        known = event_id in self._started or event_id in self._waits_ended
        return self._waits_ended.get(event_id, []) if known else None

    # --- as observer --------------------------------------------------------------------------------------------------

    def event_received(self, event: Event, started: tuple[str, ...], skipped: dict[str, str]) -> None:
        self._started[event.event_id] = started
        if len(self._started) > REMEMBERED_EVENTS:
            self._started.popitem(last=False)
        if not self._listeners:
            return
        row = {
            "event_id": event.event_id,
            "name": event.name,
            "received_at": iso(event.received_at),
            "started": list(started),
            "skipped": dict(skipped),
        }
        self.publish("received", row)

    def run_started(self, run: Run) -> None:
        self._publish_run(run, "started")

    def recorded(self, run: Run, record: Record) -> None:
        self._publish_run(run, _CHANGES[type(record)])
        if isinstance(record, ClosedStep) and record.kind is Opcode.WAIT_FOR_EVENT and record.detail.get("event_id"):
            ended = self._waits_ended.setdefault(str(record.detail["event_id"]), [])
            ended.append({"run_id": run.run_id, "function_id": run.function_id, "step": record.name})
            if len(self._waits_ended) > REMEMBERED_EVENTS:
                self._waits_ended.popitem(last=False)

    def _publish_run(self, run: Run, changed: str) -> None:
        if self._listeners:  # nobody pays for rows that nobody sees
            self.publish("run", live_row(run, changed))


_CHANGES: Final[Mapping[type[Record], str]] = {
    ClosedStep: "step",
    Plan: "step",
    FailedAttempt: "attempt",
    RunBegun: "started",
    RunEnded: "ended",
}


class Several(Silent):
    """Passes everything on to several observers."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def event_received(self, event: Event, started: tuple[str, ...], skipped: dict[str, str]) -> None:
        for observer in self._observers:
            observer.event_received(event, started, skipped)

    def run_started(self, run: Run) -> None:
        for observer in self._observers:
            observer.run_started(run)

    def invoked(self, run: Run, call: Call) -> None:
        for observer in self._observers:
            observer.invoked(run, call)

    def recorded(self, run: Run, record: Record) -> None:
        for observer in self._observers:
            observer.recorded(run, record)

    def rescued(self, run: Run) -> None:
        for observer in self._observers:
            observer.rescued(run)
