"""Queries for the dashboard, CLI and API: lists of runs and events, and whole traces. JSON-ready, times in UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, cast

from milepost.protocol import EventName
from milepost_engine.codec import Json
from milepost_engine.core.ids import first_ulid, from_ms, is_ulid, last_ulid, to_ms, ulid_moment
from milepost_engine.core.run import Run, RunStatus
from milepost_engine.ports import Clock, Item, Table
from milepost_engine.store.events import EventStore, list_of_events
from milepost_engine.store.registry import Registry
from milepost_engine.store.run_items import function_of, list_of_runs
from milepost_engine.store.runs import RunStore
from milepost_engine.store.skipped import skipped_by
from milepost_engine.store.values import Values

from .merged_pages import Source, newest_first
from .times import iso, span_ms
from .traces import Traces

__all__ = ["Queries", "RunFilter", "iso"]

_OWN_EVENTS: Final = frozenset({EventName.CRON.value, EventName.INVOKED.value})
"""Events of the engine that no trigger names; each has an item of its own in the list."""
_MOST_RUNS: Final = 200
"""Most runs shown for one event."""
_LATER_RUNS: Final = 2000
"""Most runs searched for replays of an event's runs."""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Empty fields do not filter. `since` and `until` compare the moment a run was queued."""

    functions: tuple[str, ...] = ()
    app_id: str = ""
    statuses: tuple[RunStatus, ...] = ()
    event_name: str = ""
    event_id: str = ""
    origin_run_id: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def fits(self, item: Item) -> bool:
        checks = (
            (self.app_id, "app_id"),
            (self.event_name, "event_name"),
            (self.event_id, "event_id"),
            (self.origin_run_id, "origin_run_id"),
        )
        if any(wanted and item.get(name) != wanted for wanted, name in checks):
            return False
        return not self.statuses or item.get("status") in self.statuses


@dataclass(frozen=True, slots=True)
class Queries:
    """The queries; all are read-only."""

    table: Table
    runs: RunStore
    events: EventStore
    registry: Registry
    values: Values
    clock: Clock

    async def list_runs(
        self, where: RunFilter, *, limit: int = 50, after: str = "", scan_limit: int = 20_000
    ) -> dict[str, Json]:
        """Newest first. `next` is where to continue; `cut` means that the search stopped before it saw every run."""
        functions = where.functions or (await self.registry.snapshot()).known
        first = first_ulid(to_ms(where.since)) if where.since else None
        until = last_ulid(to_ms(where.until)) if where.until else None
        last = min((text for text in (after, until) if text), default=None)
        sources = [Source(list_of_runs(function_id), _run_id, first, last) for function_id in functions]
        rows: list[dict[str, Json]] = []
        scanned, seen = 0, ""
        async for run_id, item in newest_first(self.table, sources, page=limit + 1):
            if scanned == scan_limit:
                return {"runs": rows, "next": seen, "cut": True}
            scanned, seen = scanned + 1, run_id
            if run_id == after or not where.fits(item):
                continue
            if len(rows) == limit:
                return {"runs": rows, "next": str(rows[-1]["run_id"]), "cut": False}
            rows.append(run_row(item))
        return {"runs": rows, "next": "", "cut": False}

    async def run(self, run_id: str) -> dict[str, Json] | None:
        """One run with its events and its whole trace."""
        run = await self.runs.load(run_id) if is_ulid(run_id) else None
        if run is None:
            return None
        events = [event for event_id in run.event_ids if (event := await self.events.load(event_id))]
        detail = self._head(run)
        detail["events"] = [{"event_id": event.event_id, **event.wire()} for event in events]
        detail["event"] = detail["events"][0] if events else None  # type: ignore[index]
        spec = (await self.registry.snapshot()).functions.get(run.function_id)
        detail["function_name"] = spec.own_name if spec else ""
        traces = Traces(self.values)
        result = detail["output"], detail["error"] = await traces.result(run)
        detail["trace"] = await traces.trace(run, events[0] if events else None, result)
        children = await self._replays(run)
        detail["replays"] = children
        return detail

    async def list_events(
        self,
        *,
        names: Sequence[str] = (),
        limit: int = 50,
        before: datetime | None = None,
        after: str = "",
        scan_limit: int = 20_000,
    ) -> dict[str, Json]:
        """Newest first, merged over the names: events with items of their own, and those that headers list."""
        sources = await self._event_sources(names, after or (f"{to_ms(before):015d}" if before else ""))
        places: list[str] = []
        moment, together, scanned, following = "", set[str](), 0, ""
        async for key, item in newest_first(self.table, sources, page=limit + 2):
            if key != moment:
                # Items of one moment come in any order, and each run of an event lists it.
                places += sorted(together, reverse=True)
                moment, together = key, set()
                if len(places) > limit or scanned > scan_limit:
                    following = f"{moment}#~"
                    break
            scanned += 1
            event_id = _listed_event(item, names)
            if event_id and (not after or f"{key}#{event_id}" < after):
                together.add(f"{key}#{event_id}")
        else:
            places += sorted(together, reverse=True)
        shown = places[:limit]
        if len(places) > limit:
            following = shown[-1]
        # A run may still name an event that is gone.
        stored = await self.events.received([place.partition("#")[2] for place in shown])
        return {"events": [event_row(id_, *about) for id_, about in stored.items()], "next": following}

    async def _event_sources(self, names: Sequence[str], upper: str) -> list[Source]:
        """Where the events of some names (all names if none is given) are listed, up to a place."""
        snapshot = await self.registry.snapshot()
        functions = snapshot.may_have_started(*names) if names else snapshot.known
        moment = upper[:15]
        last = last_ulid(int(moment) - ("#" not in upper)) if moment.isdecimal() else None
        alone = [
            Source(list_of_events(name), _place_moment, last=upper or None)
            for name in names or await self.events.names()
        ]
        return alone + [Source(list_of_runs(function_id), _run_moment, last=last) for function_id in functions]

    async def event(self, event_id: str, *, scan_limit: int = _LATER_RUNS) -> dict[str, Json] | None:
        """One event with the runs that it started and the skipped functions, with the reasons.

        `runs_cut`: replays may be missing, because more than `scan_limit` runs came later.
        """
        event = await self.events.load(event_id)
        if event is None:
            return None
        moment = ulid_moment(event_id) if is_ulid(event_id) else event.received_at
        snapshot = await self.registry.snapshot()
        candidates = snapshot.known if event.name in _OWN_EVENTS else snapshot.may_have_started(event.name)
        since, until = sorted((moment, event.received_at))
        where = RunFilter(functions=candidates, event_id=event_id, since=since)
        rows, cut = await self._runs_of(where, until, scan_limit) if candidates else ([], False)
        started = {row["function_id"] for row in rows}
        reasons = await skipped_by(self.table, event_id)
        return {
            "event_id": event_id,
            **event.wire(),
            "received_at": iso(event.received_at),
            "runs": rows,
            "runs_cut": cut,
            "skipped": {name: why for name, why in reasons.items() if name not in started},
        }

    async def _runs_of(
        self, where: RunFilter, until: datetime, scan_limit: int
    ) -> tuple[list[Mapping[str, Json]], bool]:
        """The runs of an event, newest first, and whether replays may be missing.

        The id of a run that an event started contains the event's moment: those are found at once, however many runs
        came later. Replays have a later id and are searched for.
        """
        at_once = await self.list_runs(replace(where, until=until), limit=_MOST_RUNS)
        searched = await self.list_runs(where, limit=_MOST_RUNS, scan_limit=scan_limit)
        listed = (
            *cast("list[Mapping[str, Json]]", searched["runs"]),
            *cast("list[Mapping[str, Json]]", at_once["runs"]),
        )
        found = {str(row["run_id"]): row for row in listed}
        cut = bool(searched["cut"] or searched["next"] or at_once["next"])
        return [found[run_id] for run_id in sorted(found, reverse=True)], cut

    # --- one run --------------------------------------------------------------------------------------------------

    def _head(self, run: Run) -> dict[str, Json]:
        ended = run.ended
        return {
            "run_id": run.run_id,
            "function_id": run.function_id,
            "app_id": run.app_id,
            "app_version": run.app_version,
            "status": run.status.value,
            "outcome": ended.outcome.value if ended else None,
            "queued_at": iso(run.queued_at),
            "start_at": iso(run.start_at),
            "started_at": iso(_first_start(run)),
            "ended_at": iso(ended.ended_at) if ended else None,
            "duration_ms": span_ms(run.queued_at, ended.ended_at if ended else self.clock.now()),
            "event_id": run.event_ids[0],
            "event_name": run.event_name,
            "origin_run_id": run.origin_run_id or None,
            "parent": {"run_id": run.parent.run_id, "step_id": run.parent.step_id} if run.parent else None,
            "max_attempts": run.retries.max_attempts,
            "start_by": iso(run.start_by),
            "finish_by": iso(run.finish_by),
            "cancel_on": [{"event": cancel.event, "expression": cancel.expression} for cancel in run.cancel_on],
        }

    async def _replays(self, run: Run) -> Json:
        where = RunFilter(functions=(run.function_id,), origin_run_id=run.run_id, since=run.queued_at)
        listed = await self.list_runs(where, limit=20, scan_limit=2000)
        return listed["runs"]


def _run_id(header: Item) -> str:
    return str(header["sk"])


def _run_moment(header: Item) -> str:
    return f"{to_ms(ulid_moment(str(header['sk']))):015d}"


def _place_moment(item: Item) -> str:
    return str(item["sk"])[:15]


def _listed_event(item: Item, names: Sequence[str]) -> str:
    """The id of the event that an item lists, or "". A replay does not list its event again."""
    if "event_id" not in item:
        return str(item["sk"]).partition("#")[2]
    listed_alone = item["event_name"] in _OWN_EVENTS or "origin_run_id" in item
    return "" if listed_alone or (names and item["event_name"] not in names) else str(item["event_id"])


def run_row(item: Item) -> dict[str, Json]:
    """A run as lists show it, from its header."""
    queued = from_ms(int(item["queued_at"]))
    ended = from_ms(int(item["ended_at"])) if "ended_at" in item else None
    return {
        "run_id": item["sk"],
        "function_id": function_of(item),
        "app_id": item["app_id"],
        "status": item["status"],
        "queued_at": iso(queued),
        "ended_at": iso(ended),
        "duration_ms": span_ms(queued, ended) if ended else None,
        "event_id": item["event_id"],
        "event_name": item["event_name"],
        "origin_run_id": item.get("origin_run_id"),
    }


def event_row(event_id: str, name: str, received_at: datetime) -> dict[str, Json]:
    """An event as lists show it."""
    return {"event_id": event_id, "name": name, "received_at": iso(received_at)}


def _first_start(run: Run) -> datetime | None:
    starts = [step.started_at for step in run.closed.values() if step.job != "kept"]
    starts += [attempt.started_at for attempts in run.failures.values() for attempt in attempts]
    if run.ended is not None and run.ended.started_at is not None:
        starts.append(run.ended.started_at)
    return min(starts, default=run.started_at)
