"""Events: reading what was sent, and the table items that store them.

    pk           sk             item
    E#<ulid>     E              one event
    L#<name>     <ms>#<ulid>    an event in the list of its name, by when it was received
    D#<hash>     D              a client's own event id, for 24 hours: the event that had it first
    NAMES        <name>         event names seen, for lists

An event that started a run is listed by the run's header (`runs.py`), which names it. It has an item of its own in a
list only if it started no run, or if its run has another moment than the event (cron, invokes, edited replays).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, cast

from milepost.protocol import (
    EXTENSION,
    MAX_CHAIN_CEILING,
    MAX_EVENT_BYTES,
    MAX_EVENT_NAME_CHARS,
    MAX_EVENTS_PER_REQUEST,
    MAX_NESTING,
    nests_deeper,
)
from milepost_engine.codec import Json, dumps, loads
from milepost_engine.core.ids import from_ms, seeded_ulid, short_hash, to_ms, ulid
from milepost_engine.ports import (
    Absent,
    AnyOf,
    Changes,
    ConditionFailed,
    Equals,
    HasAttribute,
    Item,
    Key,
    LessThan,
    RandomSource,
    Table,
)

from .lifetimes import lifetime
from .skipped import with_reasons
from .values import Values

__all__ = [
    "Event", "EventProblem", "EventStore", "Read", "check_travels", "list_of_events", "place_in_list", "read_events",
    "read_seed",
]  # fmt: skip

DEDUPLICATION: Final = timedelta(hours=24)
_YEAR_1980_MS: Final = 315_532_800_000
_YEAR_10000_MS: Final = 253_402_300_800_000
"""Python's calendar and that of ISO 8601 end before it."""
_MAX_ID: Final = 512
_REMEMBERED_EVENTS: Final = 512
_REMEMBERED_BYTES: Final = 16 * 1024 * 1024
_MAX_NAME_BYTES: Final = 1024
_RESERVED: Final = "inngest/"


class EventProblem(ValueError):
    """An event cannot be accepted; the message says why."""


@dataclass(frozen=True, slots=True)
class Event:
    """`event_id` is the engine's ULID; `client_id` the sender's id for it (or the same ULID)."""

    event_id: str
    client_id: str
    name: str
    data: Mapping[str, Json]
    ts: int
    received_at: datetime
    extra: Mapping[str, Json]
    chain: int = 0
    """Its place in a chain of events in which each started a run that sent the next; 0 for one from outside."""

    def wire(self) -> dict[str, Json]:
        """The event as functions see it."""
        return {
            "id": self.client_id,
            "name": self.name,
            "data": self.data,
            "ts": self.ts,
            "user": {},
            **self.extra,
        }


@dataclass(frozen=True, slots=True)
class Read:
    """The accepted events, and the problem that stopped the reading: events before it are accepted, those after not."""

    events: tuple[Event, ...]
    problem: str = ""


def read_events(
    body: Json, *, now: datetime, random_source: RandomSource, seed: tuple[int, bytes] | None = None
) -> Read:
    """Read one event or a list of them, in order, up to the first that cannot be accepted."""
    if isinstance(body, Mapping):
        listed: Sequence[Json] = [body]
    elif isinstance(body, list):
        listed = body
    else:
        return Read((), "Request body must contain an event object or an array of event objects")
    if len(listed) > MAX_EVENTS_PER_REQUEST:
        return Read((), f"{len(listed)} events in one request; at most {MAX_EVENTS_PER_REQUEST} are allowed")
    accepted: list[Event] = []
    for place, raw in enumerate(listed):
        made = seeded_ulid(*seed, place + 1) if seed else ulid(to_ms(now), random_source.random_bytes(10))
        try:
            accepted.append(_read(raw, made, now))
        except EventProblem as problem:
            return Read(tuple(accepted), str(problem))
    return Read(tuple(accepted))


def _read(raw: Json, event_id: str, now: datetime) -> Event:
    if not isinstance(raw, Mapping):
        raise EventProblem("Request body must contain an event object or an array of event objects")
    fields = cast("Mapping[str, Json]", raw)
    name = _read_name(fields.get("name"))
    data = fields.get("data")
    if data is not None and not isinstance(data, Mapping):
        raise EventProblem(f"data of event {name!r} must be an object, got {type(data).__name__}")
    client_id = fields.get("id")
    if client_id is not None and client_id != "" and (not isinstance(client_id, str) or len(client_id) > _MAX_ID):
        raise EventProblem(f"id of event {name!r} must be text of at most {_MAX_ID} characters")
    check_travels(fields, name)
    extra = {key: fields[key] for key in ("v", "meta") if key in fields}
    if isinstance(fields.get("user"), Mapping):
        extra["user"] = fields["user"]
    cleaned = {key: value for key, value in data.items() if key != "_inngest"} if isinstance(data, Mapping) else {}
    ts = _read_ts(fields.get("ts"), name, now)
    return Event(
        event_id, str(client_id or event_id), name, cleaned, ts, now, extra, _read_chain(fields.get(EXTENSION))
    )


def _read_chain(extension: Json) -> int:
    place = extension.get("chain") if isinstance(extension, Mapping) else None
    return place if isinstance(place, int) and 0 < place <= MAX_CHAIN_CEILING else 0


def check_travels(event: Mapping[str, Json], name: str) -> None:
    """Raises EventProblem for an event that is too large, or nested too deeply to be sent on inside other JSON."""
    try:
        encoded = dumps(event)
    except ValueError as error:
        raise EventProblem(f"[MP323] event {name!r} cannot be written as JSON: {error}") from None
    if len(encoded) > MAX_EVENT_BYTES:
        raise EventProblem(f"Event is over the max size: Max {MAX_EVENT_BYTES} bytes / Size {len(encoded)} bytes")
    if nests_deeper(encoded, MAX_NESTING + 1):  # the event around its data is one level
        raise EventProblem(
            f"[MP323] event {name!r} has data nested more than {MAX_NESTING} levels deep; "
            "send flatter data, or the deep part as text"
        )


def _read_name(name: Json) -> str:
    if not isinstance(name, str) or not name:
        raise EventProblem("event name is empty")
    if len(name) > MAX_EVENT_NAME_CHARS:
        raise EventProblem(f"event name has {len(name)} characters; at most {MAX_EVENT_NAME_CHARS} are allowed")
    if len(name.encode("utf-8", "surrogatepass")) > _MAX_NAME_BYTES:
        raise EventProblem(f"event name has more than {_MAX_NAME_BYTES} bytes")
    if name.startswith(_RESERVED):
        raise EventProblem(f"event name is reserved for internal use: {name}")
    if "\0" in name:
        raise EventProblem("event name has a NUL character; remove it")
    return name


def _read_ts(ts: Json, name: str, now: datetime) -> int:
    if ts is None or ts == 0:
        return to_ms(now)
    if isinstance(ts, bool) or not isinstance(ts, int | float) or not -(2**60) < ts < 2**60:
        raise EventProblem(f"ts of event {name!r} must be milliseconds since 1970")
    if ts < _YEAR_1980_MS:
        raise EventProblem("timestamp is before Jan 1, 1980")
    if ts >= _YEAR_10000_MS:
        raise EventProblem(
            f"ts of event {name!r} is {ts}, beyond the year 9999: send milliseconds since 1970; is this microseconds?"
        )
    return int(ts)


def read_seed(header: str) -> tuple[int, bytes] | None:
    """The seed of a request's event ids, `<milliseconds>,<base64 of ten bytes>`; None if the header is not one."""
    moment, _, entropy = header.partition(",")
    try:
        seed = base64.b64decode(entropy, validate=True)
    except (binascii.Error, ValueError):
        return None
    if not (moment.isascii() and moment.isdigit() and len(moment) <= 15 and len(seed) == 10):
        return None
    return int(moment), seed


def list_of_events(name: str) -> str:
    """The partition of a name's events that no header lists; `place_in_list` makes the sort keys."""
    return f"L#{name}"


def place_in_list(received_ms: int, event_id: str) -> str:
    """An event's place in lists, which are sorted by these texts."""
    return f"{received_ms:015d}#{event_id}"


class EventStore:
    """Stores events; recently read ones are cached, because one event may start many runs."""

    def __init__(self, table: Table, values: Values, retention: timedelta) -> None:
        self._table = table
        self._values = values
        self._retention = retention
        self._names: set[str] = set()
        self._recent: dict[str, tuple[Event, int]] = {}
        self._recent_bytes = 0

    async def put(
        self, event: Event, *wanted: timedelta | None, skipped: Mapping[str, str] = MappingProxyType({})
    ) -> bool:
        """Store an event for the longest of the wanted times (None: the default); False if it is stored already."""
        encoded = dumps(self._body(event))
        stored = await self._values.store(f"events/{event.event_id}", encoded)
        item: Item = {
            "pk": f"E#{event.event_id}",
            "sk": "E",
            "event_name": event.name,
            "received_at": to_ms(event.received_at),
            "expires_at": self._expires_at(event, wanted),
            **{f"body{kind}": value for kind, value in stored.items()},
            **with_reasons(skipped),
        }
        await self._remember_name(event.name)
        try:
            await self._table.put(item, Absent())
        except ConditionFailed:
            return False
        self._remember(event, len(encoded))
        return True

    async def put_listed(self, event: Event, *wanted: timedelta | None) -> None:
        """Store an event and list it: for one whose run's header is not at the event's place in lists."""
        if not await self.put(event, *wanted):
            event = await self.load(event.event_id) or event  # as it was first received
        await self.list_alone(event, *wanted)

    async def list_alone(self, event: Event, *wanted: timedelta | None) -> None:
        """List an event that no run's header lists. Doing it twice lists it once."""
        place = place_in_list(to_ms(event.received_at), event.event_id)
        await self._table.put(
            {"pk": list_of_events(event.name), "sk": place, "expires_at": self._expires_at(event, wanted)}
        )

    def _expires_at(self, event: Event, wanted: Sequence[timedelta | None]) -> int:
        retention = max((span or self._retention for span in wanted), default=self._retention)
        return int((max(event.received_at, from_ms(min(event.ts, 2**43))) + lifetime(retention)).timestamp())

    async def first_with_id(self, event: Event, now: datetime) -> bool:
        """Whether no other event had this client id in the last 24 hours; if so, records it."""
        if event.client_id == event.event_id:
            return True
        now_seconds = int(now.timestamp())
        item: Item = {
            "pk": f"D#{short_hash(event.client_id)}",
            "sk": "D",
            "event_id": event.event_id,
            "expires_at": now_seconds + int(DEDUPLICATION.total_seconds()),
        }
        free = Absent()
        expired = LessThan("expires_at", now_seconds + 1)
        mine = Equals("event_id", event.event_id)
        try:
            await self._table.put(item, AnyOf((free, expired, mine)))
        except ConditionFailed:
            return False
        return True

    async def load(self, event_id: str) -> Event | None:
        """The event, or None if it is unknown or has expired."""
        known = self._recent.get(event_id)
        if known is not None:
            return known[0]
        item = await self._table.get(Key(f"E#{event_id}", "E"))
        if item is None:
            return None
        try:
            encoded = await self._values.load(self._values.stored("body", item))
        except LookupError:
            return None  # it is being erased, or its object has expired first
        body = cast("dict[str, Json]", loads(encoded))
        event = Event(
            event_id=event_id,
            client_id=str(body["id"]),
            name=str(item["event_name"]),
            data=cast("Mapping[str, Json]", body["data"]),
            ts=cast("int", body["ts"]),
            received_at=from_ms(int(item["received_at"])),
            extra=cast("Mapping[str, Json]", body["extra"]),
            chain=cast("int", body.get("chain", 0)),
        )
        self._remember(event, len(encoded))
        return event

    async def extend(self, event_id: str, until: datetime) -> None:
        """Extend the retention of an event that a long run still needs."""
        try:
            stamp = Changes(set={"expires_at": int(until.timestamp())})
            await self._table.update(Key(f"E#{event_id}", "E"), stamp, HasAttribute("event_name"))
        except ConditionFailed:
            return

    def forget(self, event_id: str) -> None:
        """Remove an event from the cache."""
        _, size = self._recent.pop(event_id, (None, 0))
        self._recent_bytes -= size

    async def received(self, event_ids: Sequence[str]) -> dict[str, tuple[str, datetime]]:
        """The names of stored events and when they were received, by id; others are left out."""
        items = await self._table.get_many([Key(f"E#{event_id}", "E") for event_id in event_ids])
        found = zip(event_ids, items, strict=True)
        return {id_: (str(item["event_name"]), from_ms(int(item["received_at"]))) for id_, item in found if item}

    async def names(self) -> list[str]:
        page = await self._table.query("NAMES")
        return [str(item["sk"]) for item in page.items]

    def _body(self, event: Event) -> dict[str, Json]:
        body: dict[str, Json] = {"id": event.client_id, "data": event.data, "ts": event.ts, "extra": event.extra}
        return {**body, "chain": event.chain} if event.chain else body

    def _remember(self, event: Event, size: int) -> None:
        self.forget(event.event_id)
        self._recent[event.event_id] = (event, size)
        self._recent_bytes += size
        while len(self._recent) > _REMEMBERED_EVENTS or self._recent_bytes > _REMEMBERED_BYTES:
            self.forget(next(iter(self._recent)))

    async def _remember_name(self, name: str) -> None:
        if name in self._names:
            return
        await self._table.put({"pk": "NAMES", "sk": name})
        self._names.add(name)
