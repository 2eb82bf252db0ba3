"""Processes events: store, deduplicate, start functions, end waits, cancel runs.

Every step of it is a write that a repeat does not change, and a run's id follows from the event and the function: an
event that is processed twice starts each function once. Order matters: cancellations are subscribed before the run
exists, the run exists before its message is sent.

A run that exists already was started by another copy of the same message, which sends the run's message itself – or
stopped before it could, and then is delivered again:

    copy 1    creates the run ─────────────────────── sends its message
    copy 2            finds it: sends nothing
    copy 1'   (delivered again) finds it: sends its message once more, marked, for a run that nobody drives yet
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast

from milepost.protocol import EventName
from milepost_engine.cel import ExpressionError, bind, compile_expression, evaluate, event_key
from milepost_engine.codec import Json
from milepost_engine.core.ids import derived_ulid, from_ms, short_hash, to_ms
from milepost_engine.core.run import CancelOn, Outcome, Parent, Run, RunStatus, View
from milepost_engine.observe import Observer
from milepost_engine.ports import Absent, AnyOf, Clock, ConditionFailed, Equals, Item, LessThan, Table, Target
from milepost_engine.runs.cancelling import Cancelling
from milepost_engine.runs.sweeper import WATCH_GRACE
from milepost_engine.store.events import Event, EventStore
from milepost_engine.store.manifest import CronTrigger, EventTrigger, FunctionSpec, too_long_a_chain
from milepost_engine.store.messages import CancelRun, EventArrived, MessageSender, StartRun, WatchRun
from milepost_engine.store.registry import Registry, Snapshot
from milepost_engine.store.runs import RunStore
from milepost_engine.store.skipped import EVERY_FUNCTION, add_skipped
from milepost_engine.store.wait_matching import CANCEL, Match, WaitIndex

__all__ = ["Intake", "tick_data"]

_IDEMPOTENCY: Final = timedelta(hours=24)
_CANCEL_LIFETIME: Final = timedelta(days=365)
_FUTURE: Final = timedelta(seconds=1)
_LATE: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class _Made:
    """A run; `new` when it was not there before."""

    run: Run
    new: bool


@dataclass(frozen=True, slots=True)
class Intake:
    """See the module."""

    table: Table
    events: EventStore
    runs: RunStore
    registry: Registry
    waits: WaitIndex
    sender: MessageSender
    cancelling: Cancelling
    clock: Clock
    observer: Observer

    async def take(self, event: Event, *, redelivered: bool = False) -> tuple[str, ...]:
        """Take one event in; returns the ids of the runs that it started.

        `redelivered`: whoever had its message before may have stopped half-way.
        """
        now = self.clock.now()
        snapshot = await self.registry.snapshot()
        retentions = snapshot.retentions_of(event.name)
        skipped = self._skipped(snapshot, event, now)
        new = await self.events.put(event, *retentions, skipped=skipped)
        kept = tuple(skipped) if new else ()
        if not new:
            # Ids of runs follow from the moment that an event was received first.
            event = await self.events.load(event.event_id) or event
            skipped = self._skipped(snapshot, event, now)
        if not await self.events.first_with_id(event, now):
            await self.events.list_alone(event, *retentions)
            skipped = {EVERY_FUNCTION: f"the id {event.client_id!r} was already sent in the last 24 hours"}
            await add_skipped(self.table, event.event_id, skipped)
            self.observer.event_received(event, (), skipped)
            return ()
        listening = snapshot.started_by(event.name)
        chosen = [pairs[0][0] for function_id, pairs in listening.items() if function_id not in skipped]
        made = await asyncio.gather(*(self._create(spec, event, skipped) for spec in chosen))
        started = [found for found in made if found is not None]
        run_ids = tuple(found.run.run_id for found in started)
        if not run_ids:
            await self.events.list_alone(event, *retentions)
        await self._send(started, again=redelivered)
        # Last: who opens a wait at this moment looks back, and finds either the list or the run's header.
        await self._wake(event, now, again=not new)
        later = {name: why for name, why in skipped.items() if name not in kept}
        await add_skipped(self.table, event.event_id, later)
        self.observer.event_received(event, run_ids, skipped)
        return run_ids

    async def start(
        self,
        spec: FunctionSpec,
        event: Event,
        *,
        run_id: str | None = None,
        parent: Parent | None = None,
        origin: Run | None = None,
        kept: Sequence[str] = (),
        again: bool = True,
    ) -> Run | None:
        """Create a run for an event and send its message; None when a limit keeps it from starting.

        `again`: when the run is there already, its message is sent once more, for it may have been lost.
        """
        skipped: dict[str, str] = {}
        made = await self._create(spec, event, skipped, run_id=run_id, parent=parent, origin=origin, kept=kept)
        if origin is None:
            await add_skipped(self.table, event.event_id, skipped)
        if made is None:
            return None
        await self._send([made], again=again)
        return made.run

    async def cron(
        self, function_id: str, line: str, scheduled_at: datetime, fire_at: datetime, *, redelivered: bool = False
    ) -> Run | None:
        """Start a function for a tick of its cron line; once for each tick, however often it is asked."""
        snapshot = await self.registry.snapshot()
        spec = snapshot.functions.get(function_id)
        if spec is None or function_id in snapshot.paused or not _has_line(spec, line):
            return None
        event = Event(
            event_id=derived_ulid(to_ms(scheduled_at), function_id, line, "cron"),
            client_id=_second(scheduled_at),
            name=EventName.CRON.value,
            data=tick_data(line, scheduled_at, fire_at),
            ts=to_ms(fire_at),
            received_at=self.clock.now(),
            extra={},
        )
        await self.events.put_listed(event, spec.retention)
        run_id = derived_ulid(to_ms(scheduled_at), function_id, line)
        return await self.start(spec, event, run_id=run_id, again=redelivered)

    # --- starting -------------------------------------------------------------------------------------------------

    def _skipped(self, snapshot: Snapshot, event: Event, now: datetime) -> dict[str, str]:
        """The functions that listen to an event but are not started, and why, as far as that is known beforehand."""
        found = {
            function_id: self._why_not(snapshot, function_id, [trigger for _, trigger in pairs], event, now)
            for function_id, pairs in snapshot.started_by(event.name).items()
        }
        return {function_id: why for function_id, why in found.items() if why}

    def _why_not(
        self,
        snapshot: Snapshot,
        function_id: str,
        triggers: Sequence[EventTrigger],
        event: Event,
        now: datetime,
    ) -> str:
        if function_id in snapshot.paused:
            return "the function is paused"
        spec = snapshot.functions.get(function_id)
        if spec is not None and (why := too_long_a_chain(spec, event.chain)):
            return why
        reasons = [reason for trigger in triggers if (reason := _mismatch(trigger, event, now))]
        return reasons[0] if len(reasons) == len(triggers) else ""

    async def _send(self, started: Sequence[_Made], *, again: bool) -> None:
        """The messages of runs: of those just created, and once more of others if asked."""
        sent = [made for made in started if made.new or again]
        await self.sender.send(*(StartRun(made.run.run_id, made.run.function_id, again=not made.new) for made in sent))

    async def _create(
        self,
        spec: FunctionSpec,
        event: Event,
        skipped: dict[str, str],
        *,
        run_id: str | None = None,
        parent: Parent | None = None,
        origin: Run | None = None,
        kept: Sequence[str] = (),
    ) -> _Made | None:
        now = self.clock.now()
        run_id = run_id or derived_ulid(to_ms(event.received_at), event.event_id, spec.function_id)
        if spec.idempotency and origin is None and not await self._claim(spec, event, run_id, now):
            skipped[spec.function_id] = (
                f"the idempotency key {spec.idempotency!r} was already used in the last 24 hours"
            )
            return None
        run = await self._run(spec, event, run_id, now, parent, origin, kept)
        subscriptions, refused = _subscriptions(spec, event, now)
        if refused:
            skipped[f"{spec.function_id} (cancellation)"] = refused
        # From when the event came, not from now: a repetition of this must not forget what came between.
        since = now if origin else event.received_at
        stopped = await self.waits.open_cancels(run, subscriptions, since, now)
        new = await self.runs.create(run)
        if new:
            self.observer.run_started(run)
        if stopped:
            await self.cancelling.cancel(_cancellation(run, stopped[0]))
        if now - event.received_at > _LATE:
            # The sweeper goes by the age of events and may have passed this one.
            await self.sender.send_at(WatchRun(run.run_id, run.function_id), now + WATCH_GRACE)
        return _Made(run, new)

    async def _run(
        self,
        spec: FunctionSpec,
        event: Event,
        run_id: str,
        now: datetime,
        parent: Parent | None,
        origin: Run | None,
        kept: Sequence[str],
    ) -> Run:
        target = (await self.registry.snapshot()).target_of(spec.app_id)
        app = (await self.registry.snapshot()).apps.get(spec.app_id)
        pinned = _pinned(target) if target and target.kind == "lambda" else {}
        start_at = _start_at(event, now)
        return Run(
            run_id=run_id,
            app_id=spec.app_id,
            app_version=app.shown_version if app else "",
            function_id=spec.function_id,
            status=RunStatus.QUEUED if start_at else RunStatus.RUNNING,
            event_ids=(event.event_id,),
            event_name=event.name,
            queued_at=now,
            start_at=start_at,
            start_by=(start_at or now) + spec.start_timeout if spec.start_timeout else None,
            finish_by=(start_at or now) + spec.finish_timeout if spec.finish_timeout else None,
            retries=spec.retries,
            step_limit=spec.step_limit,
            retention=spec.retention,
            peeks=spec.ours,
            chain=event.chain,
            # Another SDK decides for itself whether it saves steps on its way; the official one for JavaScript does.
            checkpoint=spec.checkpoint or not spec.ours,
            parent=parent,
            origin_run_id=origin.run_id if origin else "",
            cancel_on=tuple(cancel for cancel, _ in _subscriptions(spec, event, now)[0]),
            target=cast("Mapping[str, Json]", pinned),
            view=View.of((origin.closed[step_id] for step_id in kept), tuple(kept)) if origin else View(),
        )

    async def _claim(self, spec: FunctionSpec, event: Event, run_id: str, now: datetime) -> bool:
        """Claim the idempotency key of a function for a run; True when it is this run's, or the event has no key."""
        value = event_key(compile_expression(spec.idempotency), event.wire(), now=now)
        if value is None:
            return True
        seconds = int(now.timestamp())
        item: Item = {
            "pk": f"I#{spec.function_id}#{short_hash(_key_text(value))}",
            "sk": "I",
            "run_id": run_id,
            "expires_at": seconds + int(_IDEMPOTENCY.total_seconds()),
        }
        free = Absent()
        let_go = LessThan("expires_at", seconds + 1)
        mine = Equals("run_id", run_id)
        try:
            await self.table.put(item, AnyOf((free, let_go, mine)))
        except ConditionFailed:
            return False
        return True

    # --- waking ---------------------------------------------------------------------------------------------------

    async def _wake(self, event: Event, now: datetime, *, again: bool) -> None:
        arrived: list[EventArrived] = []
        cancelled: list[CancelRun] = []
        for match in await self.waits.find(event, now, again=again):
            if match.step_id.startswith(CANCEL):
                cancelled.append(_cancellation(match, event))
            else:
                step_id, event_id = match.step_id, event.event_id
                arrived.append(EventArrived(match.run_id, match.function_id, step_id=step_id, event_id=event_id))
        await self.sender.send(*arrived)
        if cancelled:
            await self.cancelling.cancel(*cancelled)


def _cancellation(run: Run | Match, event: Event) -> CancelRun:
    return CancelRun(run.run_id, run.function_id, outcome=Outcome.EVENT, reason=event.event_id)


def _pinned(target: Target) -> dict[str, Json]:
    """What a run keeps of its target: the code that it began with."""
    pinned: dict[str, Json] = {"kind": target.kind, "address": target.address, "timeout": target.timeout_seconds}
    return {**pinned, "reports": True} if target.reports else pinned


def _mismatch(trigger: EventTrigger, event: Event, now: datetime) -> str:
    """Why a trigger's expression keeps an event out; empty when it does not."""
    if not trigger.expression:
        return ""
    try:
        value = evaluate(compile_expression(trigger.expression), {"event": event.wire()}, now=now)
    except ExpressionError as error:
        return f"the expression {trigger.expression!r} failed: {error}"
    if value is True:
        return ""
    found = "is false" if value is False else "did not evaluate to true or false"
    return f"the expression {trigger.expression!r} {found}"


def _key_text(value: Json) -> str:
    """The text shared by equal values of an idempotency key; in maps and lists, neither order nor `1` or `1.0` matters.

    A key that is a plain text or number keeps the form that it always had, because claims stand for a day.
    """
    return json.dumps(_plain(value), sort_keys=True, default=repr) if isinstance(value, Mapping | list) else repr(value)


def _plain(value: Json) -> Json:
    match value:
        case Mapping():
            return {str(name): _plain(each) for name, each in value.items()}
        case list():
            return [_plain(each) for each in value]
        case float() if value.is_integer():
            return int(value)  # and not the other way round: large whole numbers are exact
        case _:
            return value


def _start_at(event: Event, now: datetime) -> datetime | None:
    """When the run of a future event begins; None: at once."""
    later = from_ms(min(event.ts, 2**47))
    return later if later - now > _FUTURE else None


def _subscriptions(spec: FunctionSpec, event: Event, now: datetime) -> tuple[list[tuple[CancelOn, datetime]], str]:
    """The cancellations of a run, bound to its event (one that can never match is left out), and what kept one out."""
    found: list[tuple[CancelOn, datetime]] = []
    begins = _start_at(event, now) or now
    refused = ""
    for cancel in spec.cancel_on:
        text = ""
        if cancel.expression:
            try:
                bound = bind(compile_expression(cancel.expression), event.wire())
            except ExpressionError as error:
                refused = f"the run cannot be cancelled by {cancel.event!r}: {error}"
                continue
            if bound.never:
                continue
            text = bound.text
        found.append((CancelOn(cancel.event, text), begins + (cancel.timeout or _CANCEL_LIFETIME)))
    return found, refused


def tick_data(line: str, scheduled_at: datetime, fire_at: datetime) -> dict[str, Json]:
    """The data of the event of a tick; both moments in UTC."""
    return {"cron": line, "scheduledAt": _second(scheduled_at), "fireAt": _second(fire_at)}


def _second(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _has_line(spec: FunctionSpec, line: str) -> bool:
    return any(isinstance(trigger, CronTrigger) and trigger.text == line for trigger in spec.triggers)
