"""Finds the waits and cancellations that an event matches, at a cost that does not grow with their number.

    pk                   sk                   item
    WP#<event name>      <paths>              a set of data paths that some wait for this event compares
    W#<event>#<hash>     <run>#<step>         one wait; the hash is made of the values at those paths
A wait `async.data.order_id == 7 && async.data.total > 10` is stored under the hash of (data.order_id, 7). For each set
of paths in use for its name, an event is looked up by the hash of its own values there; the whole expression is
evaluated on what that finds. Waits that compare nothing are stored under the empty set of paths.

An event may arrive between the plan and the opening of its wait. It is found by looking back:

    run       plan recorded ─────────────── wait opened ── look back to the plan's moment
    event            received, finds no wait      │              └─ finds the event
An event is listed, in an item of its own or by the headers of the runs it started, before waits are searched for it.
Each side writes before it reads, so one of the two finds the other.

A wait without a look-back accepts later events only, and so does a cancellation. The order of event and wait is known
from two clocks, that of the process that accepted the event and that of the process that decided the wait; either may
have been set back. An event that is processed while the wait is open therefore counts, unless the clocks say that it
was earlier and that is plausible:

    the clocks say                 it is processed           therefore
    event before wait before now   for the first time, soon  it was queued while the wait was decided: does not count
    event before wait before now   again, however late       it was processed before: does not count
    event before wait before now   for the first time, late  it was queued for long, or a clock is wrong: counts
    event before now before wait   –                         a clock is wrong, the wait is already open: counts

A wait that is ended by an event just before it does less harm than one that never ends. A wrong cancellation does more,
where each event starts a run and cancels earlier runs: for cancellations, late is treated like soon. One case remains:
if the clocks of two processes differ, an event that follows the wait by less than the difference may count as earlier.

Within one millisecond the order is unknown, and an event that may be later counts. An event that has ended a wait of a
run does not end a later one, whether that looks back or not: a loop that waits gets one event after the other. Waits
that are open at the same time may be ended by the same event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from milepost_engine.cel import bind, compile_expression, equality_keys, index_hash, lookup, matches, restore
from milepost_engine.codec import Json
from milepost_engine.core.ids import first_ulid, last_ulid, short_hash, to_ms
from milepost_engine.core.opcodes import look_back_of
from milepost_engine.core.run import CancelOn, OpenOp, Run
from milepost_engine.ports import Clock, Item, Key, Table

from .events import Event, EventStore, list_of_events, place_in_list
from .registry import Registry
from .run_items import list_of_runs

if TYPE_CHECKING:
    from milepost_engine.cel import Scalar

__all__ = ["CANCEL", "Match", "WaitIndex", "bind_text"]

CANCEL: Final = "cancel:"
_SEPARATOR: Final = "\n"
_KEPT_AFTER_END: Final = timedelta(days=1)
_SOON: Final = timedelta(minutes=1)
"""An event is in the queue for less than this, unless there is a backlog."""


@dataclass(frozen=True, slots=True)
class Match:
    """A wait that an event matches; `step_id` begins with `cancel:` for a cancellation."""

    run_id: str
    step_id: str
    function_id: str


def bind_text(expression: str, trigger: Mapping[str, Json]) -> str:
    """An expression with the trigger event's values filled in; an empty one stays empty."""
    return bind(compile_expression(expression), trigger).text if expression else ""


class WaitIndex:
    """Opens, finds and closes waits."""

    def __init__(self, table: Table, events: EventStore, registry: Registry, clock: Clock) -> None:
        self._table = table
        self._events = events
        self._registry = registry
        self._clock = clock
        self._known_paths: set[tuple[str, str]] = set()

    async def open(
        self, run: Run, op: OpenOp, trigger: Mapping[str, Json], opened_at: datetime, now: datetime
    ) -> list[Event]:
        """Open a wait; returns the matching events received since it was decided, or within its look-back."""
        event = str(op.opts["event"])
        expression = bind_text(str(op.opts.get("if") or ""), trigger)
        look_back = look_back_of(op)
        since = opened_at - look_back
        await self._put(run, op.step_id, event, expression, since, op.due_at or opened_at)
        found = await self._received(run, event, expression, min(since, now - look_back), now)
        used = run.used_before(op.step_id)
        return [one for one in found if one.event_id not in used]

    async def open_cancels(
        self, run: Run, cancels: Iterable[tuple[CancelOn, datetime]], since: datetime, now: datetime
    ) -> list[Event]:
        """Subscribe a run to the events that cancel it, each until its timeout.

        Returns those already received since `since`: a queue does not keep events in order.
        """
        found: list[Event] = []
        for place, (cancel, until) in enumerate(cancels):
            await self._put(run, f"{CANCEL}{place}", cancel.event, cancel.expression, since, until)
            found += await self._received(run, cancel.event, cancel.expression, min(since, now), now)
        return found

    async def close(self, run: Run, *, event: str, expression: str, step_id: str) -> None:
        """Delete a wait. `expression` is the bound one."""
        await self._table.delete(Key(_partition(event, expression), f"{run.run_id}#{step_id}"))

    async def is_awaited(self, event_name: str) -> bool:
        """Whether any wait was ever opened for an event name."""
        return bool((await self._table.query(f"WP#{event_name}", limit=1)).items)

    async def find(self, event: Event, now: datetime, *, again: bool) -> list[Match]:
        """The open waits and cancellations that an event matches. `again`: it was processed before, perhaps in part."""
        found: list[Match] = []
        page = await self._table.query(f"WP#{event.name}")
        variables = event.wire()
        for paths_item in page.items:
            digest = _digest_of_event(str(paths_item["sk"]), variables)
            if digest is None:
                continue
            candidates = await self._table.query(f"W#{event.name}#{digest}")
            found += self._fitting(candidates.items, event, now, again=again)
        return found

    async def _received(self, run: Run, event: str, expression: str, since: datetime, now: datetime) -> list[Event]:
        """The matching events of a name received since a moment, oldest first."""
        listed = await self._listed(event, to_ms(since), to_ms(now) + 1)
        candidates = [await self._events.load(event_id) for event_id in listed if event_id not in run.event_ids]
        # A replay's header is listed at its own moment, whenever its event was received.
        fitting = [
            one for one in candidates if one and to_ms(one.received_at) >= to_ms(since) and _fits(expression, one, now)
        ]
        return sorted(fitting, key=lambda one: place_in_list(to_ms(one.received_at), one.event_id))

    async def _listed(self, event: str, since_ms: int, until_ms: int) -> set[str]:
        """Ids of the events of a name received between two moments: listed alone, or by the runs they started."""
        alone = await self._table.query(
            list_of_events(event), first=place_in_list(since_ms, ""), last=place_in_list(until_ms, "~")
        )
        found = {str(item["sk"]).partition("#")[2] for item in alone.items}
        snapshot = await self._registry.snapshot()
        for function_id in snapshot.may_have_started(event):
            page = await self._table.query(
                list_of_runs(function_id), first=first_ulid(since_ms), last=last_ulid(until_ms)
            )
            found |= {str(item["event_id"]) for item in page.items if item["event_name"] == event}
        return found

    def _fitting(self, items: Iterable[Item], event: Event, now: datetime, *, again: bool) -> Iterator[Match]:
        received = to_ms(event.received_at)
        read_at = self._clock.now()  # after the waits were read: none of them was decided later
        soon = read_at - event.received_at <= _SOON
        for item in items:
            run_id, _, step_id = str(item["sk"]).partition("#")
            # By when it was received, not when it is processed: otherwise neither side would find an event that was
            # queued while the wait was opened.
            since = int(item["since"])
            plausible = again or soon or step_id.startswith(CANCEL)
            before = received < since <= to_ms(read_at) and plausible
            in_time = not before and received <= int(item["until"])
            own = event.event_id in str(item["trigger_ids"]).split()
            if in_time and not own and _fits(str(item["expression"]), event, now):
                yield Match(run_id, step_id, str(item["fn"]))

    async def _put(self, run: Run, step_id: str, event: str, expression: str, since: datetime, until: datetime) -> None:
        paths = _SEPARATOR.join(path for path, _ in _keys(expression)) or "-"
        if (event, paths) not in self._known_paths:
            await self._table.put({"pk": f"WP#{event}", "sk": paths})
            self._known_paths.add((event, paths))
        await self._table.put(
            {
                "pk": _partition(event, expression),
                "sk": f"{run.run_id}#{step_id}",
                "expression": expression,
                "since": to_ms(since),
                "until": to_ms(until),
                "fn": run.function_id,
                "trigger_ids": " ".join(run.event_ids),
                "expires_at": int((until + _KEPT_AFTER_END).timestamp()),
            }
        )


def _keys(expression: str) -> tuple[tuple[str, Scalar], ...]:
    if not expression:
        return ()
    keys = dict(equality_keys(restore(expression)))
    return tuple(sorted(keys.items()))


def _partition(event: str, expression: str) -> str:
    return f"W#{event}#{_digest(_keys(expression))}"


def _digest(keys: Iterable[tuple[str, Scalar]]) -> str:
    parts = [index_hash(path, value) for path, value in keys]
    return short_hash(*parts) if parts else "-"


def _digest_of_event(paths: str, variables: Mapping[str, Json]) -> str | None:
    """The hash of an event's values at some paths; None if one is missing, so no wait there can match."""
    if paths == "-":
        return "-"
    keys = [(path, lookup(path, variables)) for path in paths.split(_SEPARATOR)]
    present = [(path, value) for path, value in keys if value is not None]
    return _digest(present) if len(present) == len(keys) else None


def _fits(expression: str, event: Event, now: datetime) -> bool:
    if not expression:
        return True
    return matches(restore(expression).expression, {"async": event.wire()}, now)
