"""Events as they are sent and as a function receives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, cast

from typing_extensions import TypeVar

from milepost.errors import ConfigError, EventMismatchError, ReservedEventNameError
from milepost.protocol import MAX_EVENT_NAME_CHARS

from .current import check_text
from .serializer import plain_json

__all__ = ["CronTick", "NewEvent", "ReceivedEvent", "check_sendable", "read_moment", "wire_event"]

D_co = TypeVar("D_co", covariant=True, default=dict[str, Any])

RESERVED_PREFIX: Final = "inngest/"


@dataclass(frozen=True)  # with slots, NewEvent[int](…) is a TypeError in Python 3.11
class NewEvent(Generic[D_co]):
    """An event to send. Made by `Event.create`, or directly for events without a model.

    Args:
        name: What happened, such as `"order/created"`; at most 512 letters.
        data: Anything that JSON carries as an object.
        id: Two events with the same id start a function at most once within 24 hours.
        ts: When it happened (aware); now by default. A run starts no earlier than this moment.
    """

    name: str
    data: D_co
    id: str | None = None
    ts: datetime | None = None


@dataclass(frozen=True)  # with slots, ReceivedEvent[int](…) is a TypeError in Python 3.11
class ReceivedEvent(Generic[D_co]):
    """An event that started a run or ended a wait. `data` is the model that the `Event` declares, else a dict."""

    id: str
    name: str
    data: D_co
    ts: datetime


@dataclass(frozen=True, slots=True)
class CronTick:
    """The tick that started a run: its cron line, when it was due and when it was fired (later with jitter)."""

    cron: str
    scheduled_at: datetime
    fired_at: datetime


Sendable = NewEvent[Any] | ReceivedEvent[Any] | Mapping[str, object]
"""What can be sent; a mapping has `name`, and maybe `data`, `id` and `ts` (milliseconds or datetime)."""


def check_sendable(name: str) -> None:
    """Refuse an event name that cannot be sent."""
    check_text(name, "the name of an event")
    if not name:
        raise ConfigError("an event has no name: give it one such as 'order/created'")
    if name.startswith(RESERVED_PREFIX):
        raise ReservedEventNameError(
            f"event name {name!r} is reserved: names that begin with {RESERVED_PREFIX!r} are sent by the engine only"
        )
    if len(name) > MAX_EVENT_NAME_CHARS:
        raise ConfigError(
            f"event name {name[:40]!r}… has {len(name)} letters; at most {MAX_EVENT_NAME_CHARS} are allowed"
        )
    if "*" in name:
        raise ConfigError(f"event name {name!r} is a pattern: send an event under its full name")


def wire_event(event: Sendable) -> dict[str, object]:
    """The event as a JSON object, checked."""
    given = cast("object", event)
    if isinstance(event, Mapping):
        known = dict(event)
    elif not isinstance(given, NewEvent | ReceivedEvent):
        raise ConfigError(
            f"an event to send is {given!r}, of type {type(given).__name__}: give Event.create(…) or "
            "{'name': …, 'data': …}"
        )
    else:
        known = {"name": event.name, "data": event.data, "id": event.id, "ts": event.ts}
    name = known.get("name")
    if not isinstance(name, str):
        raise ConfigError(f"an event to send has the name {name!r}: give it a text such as 'order/created'")
    check_sendable(name)
    told: dict[str, object] = {key: value for key, value in known.items() if value is not None}
    told.setdefault("data", {})
    ts = told.get("ts")
    if isinstance(ts, datetime):
        told["ts"] = _milliseconds(ts, name)
    wire: dict[str, object] = plain_json(told, f"event {name!r}", 1)
    if not isinstance(wire["data"], dict):
        raise EventMismatchError(f"event {name!r} has data of type {type(wire['data']).__name__}: give an object")
    return wire


def _milliseconds(moment: datetime, name: str) -> int:
    if moment.tzinfo is None:
        raise ConfigError(f"event {name!r} has a ts without a time zone: use datetime.now(UTC)")
    return round(moment.timestamp() * 1000)


def read_moment(milliseconds: object) -> datetime:
    """A moment of the wire; 1970 if it is not a number."""
    if isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool):
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    return datetime.fromtimestamp(0, UTC)
