"""Events as you send them and as a function receives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Generic, cast

from typing_extensions import TypeVar

from milepost.errors import ConfigError, EventMismatchError, ReservedEventNameError
from milepost.protocol import MAX_EVENT_NAME_CHARS

from .current import check_text, nearest
from .json_types import EventData
from .serializer import plain_json

__all__ = ["CronTick", "NewEvent", "ReceivedEvent", "check_sendable", "read_moment", "wire_event"]

D_co = TypeVar("D_co", covariant=True, default=EventData)

RESERVED_PREFIX: Final = "inngest/"
_KEYS: Final = frozenset({"data", "id", "name", "ts", "user", "v"})
"""`user` and `v` are of the protocol; nothing here uses them."""


@dataclass(frozen=True)  # with slots, NewEvent[int](…) is a TypeError in Python 3.11
class NewEvent(Generic[D_co]):
    """An event to send. Made by `Event.create`, or directly for events without a model.

    Args:
        name: What happened, such as `"order/created"`; at most 512 characters.
        data: A dict or model that can be written as a JSON object.
        id: Identifies the event for deduplication: events with the same id start a function at most once in 24 hours.
        ts: When it happened (an aware datetime); default now. A run starts no earlier than this moment.

    It is checked when it is sent: ConfigError for a bad name or a ts without a time zone, ReservedEventNameError for a
    name that begins with `inngest/`, EventMismatchError for data that is not an object.
    """

    name: str
    data: D_co
    id: str | None = None
    ts: datetime | None = None


@dataclass(frozen=True)  # with slots, ReceivedEvent[int](…) is a TypeError in Python 3.11
class ReceivedEvent(Generic[D_co]):
    """An event that started a run or ended a wait.

    Attributes:
        id: The event's id; empty if the server gave none.
        name: The event's name.
        data: An instance of the model that the `Event` declares, else a dict.
        ts: When it happened, in UTC.
    """

    id: str
    name: str
    data: D_co
    ts: datetime


@dataclass(frozen=True, slots=True)
class CronTick:
    """The tick that started a run.

    Attributes:
        cron: The cron line.
        scheduled_at: When the tick was due.
        fired_at: When it fired: later than `scheduled_at` if the cron has jitter.
    """

    cron: str
    scheduled_at: datetime
    fired_at: datetime


Sendable = NewEvent[object] | ReceivedEvent[object] | Mapping[str, object]
"""An event that can be sent; a mapping has `name` and, optionally, `data`, `id` and `ts` (milliseconds or datetime)."""


def check_sendable(name: str) -> None:
    """Refuse an event name that cannot be sent."""
    check_text(name, "the name of an event")
    if not name:
        raise ConfigError("an event has no name: give it one such as 'order/created'")
    if name.startswith(RESERVED_PREFIX):
        raise ReservedEventNameError(
            f"event name {name!r} is reserved: only the engine sends names that begin with {RESERVED_PREFIX!r}"
        )
    if len(name) > MAX_EVENT_NAME_CHARS:
        raise ConfigError(
            f"event name {name[:40]!r}… has {len(name)} characters; at most {MAX_EVENT_NAME_CHARS} are allowed"
        )
    if "*" in name:
        raise ConfigError(f"event name {name!r} is a pattern: send the event with its full name")


def wire_event(event: Sendable) -> dict[str, object]:
    """The event as a JSON object, checked."""
    given = cast("object", event)
    if isinstance(event, Mapping):
        known = dict(event)
    elif not isinstance(given, NewEvent | ReceivedEvent):
        raise ConfigError(
            f"an event to send is {given!r}, of type {type(given).__name__}: pass Event.create(…) or "
            "{'name': …, 'data': …}"
        )
    else:
        known = {"name": event.name, "data": event.data, "id": event.id, "ts": event.ts}
    name = known.get("name")
    unknown = sorted(str(key) for key in known.keys() - _KEYS)
    if unknown:
        raise ConfigError(
            f"an event to send, {name!r}, has keys that events do not have: {', '.join(unknown)}"
            f"{nearest(unknown, sorted(_KEYS))}. Its keys are name, data, id and ts; what it is about goes into data"
        )
    if not isinstance(name, str):
        raise ConfigError(f"an event to send has the name {name!r}: give it a string such as 'order/created'")
    check_sendable(name)
    fields: dict[str, object] = {key: value for key, value in known.items() if value is not None}
    fields.setdefault("data", {})
    ts = fields.get("ts")
    if isinstance(ts, datetime):
        fields["ts"] = _milliseconds(ts, name)
    # By itself, because its class decides how it is written.
    fields["data"] = plain_json(fields["data"], f"event {name!r}")
    wire = cast("dict[str, object]", plain_json(fields, f"event {name!r}", 1))
    if not isinstance(wire["data"], dict):
        raise EventMismatchError(
            f"event {name!r} has data of type {type(wire['data']).__name__}: pass an object (a dict or a model)"
        )
    return wire


def _milliseconds(moment: datetime, name: str) -> int:
    if moment.tzinfo is None:
        raise ConfigError(f"event {name!r} has a ts without a time zone: use datetime.now(UTC)")
    return round(moment.timestamp() * 1000)


def read_moment(milliseconds: object) -> datetime:
    """A moment from the wire, in UTC; 1970-01-01 if it is not a number."""
    if isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool):
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    return datetime.fromtimestamp(0, UTC)
