"""Triggers of functions: event types, with or without a model of their data, and cron lines."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Generic, Literal, cast, overload

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from typing_extensions import TypeVar, is_typeddict

from milepost._values.current import Named, check_text
from milepost._values.durations import Duration, to_duration
from milepost._values.events import CronTick, NewEvent, ReceivedEvent, check_sendable, read_moment
from milepost._values.json_types import EventData, JsonObject
from milepost._values.serializer import Adapter, validate_plain
from milepost.errors import BadTriggerError, EventMismatchError
from milepost.protocol import EventName

__all__ = [
    "AnyEvent",
    "CatchUp",
    "Cron",
    "Event",
    "Trigger",
    "data_schemas",
    "find_events",
    "list_triggers",
    "model_name",
    "read_tick",
    "received_event",
]

D = TypeVar("D", default=EventData)

CatchUp = Literal["one", "all", "skip"]

MAX_TRIGGERS: Final = 10
_MAX_TEXT: Final = 255
_WILDCARD: Final = re.compile(r"^[^*]+[/.]\*$")
_CRON_NAMES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_CRON_FIELD: Final = re.compile(r"^[\d*,/A-Za-z#LW?-]+$")


class Event(Generic[D]):
    """A type of event: its name and, optionally, the model of its data and a condition.

    Args:
        name: A name such as `"order/created"`, or a pattern that ends with `/*` or `.*`; at most 255 characters.
        model: A pydantic model, dataclass or TypedDict. Data is validated when sent and when received. Default None:
            data is a dict.
        if_: A CEL expression over `event` that must be true for the event to start a function; default None.

    Raises BadTriggerError for a name or a model that cannot be used.
    """

    __slots__ = ("if_", "model", "name")

    name: str
    model: type[D] | None
    if_: str | None

    @overload
    def __init__(self: Event[EventData], name: str, *, if_: str | None = None) -> None: ...
    @overload
    def __init__(self, name: str, model: type[D], *, if_: str | None = None) -> None: ...
    def __init__(self, name: str, model: type[D] | None = None, *, if_: str | None = None) -> None:
        _check_name(name)
        if if_ is not None and not check_text(if_, f"if_ of event {name!r}", BadTriggerError).strip():
            raise BadTriggerError(f"event {name!r} has an empty if_: omit it, or write an expression")
        if not _is_model(model):
            _checked_adapter(name, model)
        self.name = name
        self.model = model
        self.if_ = if_

    def __repr__(self) -> str:
        parts = [
            repr(self.name),
            *([model_name(self.model)] if self.model else []),
            *([f"if_={self.if_!r}"] if self.if_ else []),
        ]
        return f"Event({', '.join(parts)})"

    def where(self, if_: str) -> Event[D]:
        """The same event type with a condition, to be used as a trigger."""
        if self.model is None:
            return cast("Event[D]", Event(self.name, if_=if_))
        return Event(self.name, self.model, if_=if_)

    def create(
        self,
        data: D | Mapping[str, object],
        *,
        id: str | None = None,  # noqa: A002 - the word of the wire
        ts: datetime | None = None,
    ) -> NewEvent[D]:
        """Create an event to send, with its data validated by the model.

        Args:
            data: An instance of the model, or a mapping with its fields.
            id: Events with the same id start a function at most once in 24 hours; default None, no deduplication.
            ts: When it happened (an aware datetime); default: when it is sent.

        Raises EventMismatchError, which names the fields that do not match, and ConfigError for a name that cannot be
        sent.
        """
        check_sendable(self.name)
        return NewEvent(self.name, self.validate(data), id, ts)

    def validate(self, data: object) -> D:
        """The data as an instance of the model. Raises EventMismatchError, which names the fields that do not match."""
        return self._validated(data, lambda adapter: _from_python(adapter, data))

    def _receive(self, data: Mapping[str, object]) -> D:
        """The JSON data of a received event as an instance of the model. Raises as `validate` does."""
        return self._validated(data, lambda adapter: validate_plain(data, adapter))

    def _validated(self, data: object, read: Callable[[Adapter], object]) -> D:
        if self.model is None:
            return cast("D", data)
        try:
            return cast("D", read(_model_adapter(cast("Hashable", self.model))))
        except ValidationError as error:
            raise EventMismatchError(
                f"the data of event {self.name!r} does not match {model_name(self.model)}: {_fields(error)}"
            ) from None
        except PydanticUserError as error:
            raise _no_model(self.name, self.model, error) from None

    def matches(self, name: str) -> bool:
        """Whether an event name equals this name, or matches this pattern."""
        return name == self.name or (self.name.endswith("*") and name.startswith(self.name[:-1]))

    def schema(self) -> JsonObject | None:
        """The JSON schema of the data; None without a model, or with one that has no schema.

        Raises BadTriggerError for a model that cannot be used.
        """
        if self.model is None:
            return None
        adapter = _checked_adapter(self.name, self.model)
        if not adapter.pydantic_complete:
            raise BadTriggerError(
                f"the model {model_name(self.model)} of event {self.name!r} refers to types that cannot be found: "
                "define or import them in its module, and not only under TYPE_CHECKING"
            )
        try:
            return adapter.json_schema()
        except Exception:  # noqa: BLE001 - models may have fields of types without a schema
            return None


AnyEvent = Event[Any]
"""A type of event with data of any type."""


def _from_python(adapter: Adapter, data: object) -> object:
    """Data that code passes: with Python's own values, or as JSON has them, for a strict model too."""
    try:
        return cast("object", adapter.validate_python(data))
    except ValidationError as error:
        if not isinstance(data, Mapping):
            raise
        try:
            return validate_plain(cast("Mapping[str, object]", data), adapter)
        except Exception:  # noqa: BLE001 - what is wrong with it as it was passed is the one to report
            raise error from None


def _model_adapter(model: Hashable) -> Adapter:
    adapter = _cached_adapter(model)
    if not adapter.pydantic_complete:
        # Created before all types that it refers to were defined.
        adapter.rebuild(raise_errors=False)
    return adapter


@functools.lru_cache(maxsize=512)
def _cached_adapter(model: Hashable) -> Adapter:
    return TypeAdapter(cast("type[object]", model))


def _is_model(model: object) -> bool:
    """Whether it is a model by its kind. Only other types are tried at import: a dataclass would take 1 ms each."""
    if model is None or is_typeddict(model):
        return True
    return isinstance(model, type) and (
        issubclass(cast("type[object]", model), BaseModel) or hasattr(cast("object", model), "__dataclass_fields__")
    )


def _checked_adapter(name: str, model: object) -> Adapter:
    """The adapter of a model. Raises BadTriggerError if it is not a model."""
    if isinstance(model, str):
        raise BadTriggerError(f"event {name!r} has the string {model!r} as its model: pass the class itself")
    try:
        return _model_adapter(model)
    except Exception as error:  # noqa: BLE001 - pydantic may raise anything for what is not a type
        raise _no_model(name, model, error) from None


def _no_model(name: str, model: object, error: Exception) -> BadTriggerError:
    said = str(error).partition("\n")[0] or type(error).__name__
    return BadTriggerError(
        f"event {name!r} has {model_name(model)} as its model, which is not one ({said}): "
        "pass a pydantic model, a dataclass or a TypedDict"
    )


def data_schemas(event: AnyEvent) -> list[JsonObject]:
    """JSON schemas of an event's data as it is read and as it is written, which may differ in the names of fields.

    None without a model, with one that has no schema, or while it refers to types that are not defined yet.
    """
    if event.model is None:
        return []
    adapter = _checked_adapter(event.name, event.model)
    return list(_both_schemas(cast("Hashable", event.model))) if adapter.pydantic_complete else []


@functools.lru_cache(maxsize=512)
def _both_schemas(model: Hashable) -> tuple[JsonObject, ...]:
    adapter = _model_adapter(model)
    try:
        return adapter.json_schema(mode="validation"), adapter.json_schema(mode="serialization")
    except Exception:  # noqa: BLE001 - models may have fields of types without a schema
        return ()


def model_name(model: object) -> str:
    """A model as errors name it."""
    return str(getattr(model, "__name__", None) or repr(model))


def _fields(error: ValidationError) -> str:
    """One clause per field that does not match, at most eight."""
    clauses = [
        f"{'.'.join(map(str, item['loc'])) or 'data'}: {item['msg']}" for item in error.errors(include_url=False)
    ]
    shown = "; ".join(clauses[:8])
    return shown if len(clauses) <= 8 else f"{shown}; and {len(clauses) - 8} more"


def _check_name(name: str) -> None:
    check_text(name, "the event name of a trigger", BadTriggerError)
    if not name:
        raise BadTriggerError("a trigger has an empty event name: give it one such as 'order/created'")
    if len(name) > _MAX_TEXT:
        raise BadTriggerError(f"event name {name[:40]!r}… has {len(name)} characters; at most {_MAX_TEXT} are allowed")
    if "*" in name and not _WILDCARD.match(name):
        raise BadTriggerError(f"event name {name!r} has its * in the wrong place: a pattern ends with '/*' or '.*'")


@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule that starts a function.

    Args:
        line: Five fields: minute, hour, day of month, month, day of week; at most 255 characters. Or one of `@hourly`,
            `@daily`, `@weekly`, `@monthly` and `@yearly`.
        tz: IANA time zone, such as `"Europe/Paris"`; default UTC.
        jitter: 1 s to 5 m: each function fires at its own fixed offset within it; default none.
        catch_up: After an outage, start one run for all missed ticks (`"one"`, default), one for each (`"all"`), or
            none (`"skip"`).

    Raises BadTriggerError for a line, zone, jitter or catch_up that cannot be used.
    """

    line: str
    tz: str | None = None
    jitter: Duration | None = None
    catch_up: CatchUp = "one"

    def __post_init__(self) -> None:
        line = check_text(self.line, "a cron line", BadTriggerError)
        fields = _CRON_NAMES.get(line.strip().lower(), line).split()
        if other := _other_form(fields):
            raise BadTriggerError(f"cron line {self.line!r} {other}")
        if len(fields) != 5 or not all(_CRON_FIELD.match(field) for field in fields) or len(self.line) > _MAX_TEXT:
            raise BadTriggerError(
                f"cron line {self.line!r} is not five fields (minute hour day month weekday), such as '0 8 * * 1-5'; "
                "pass the time zone as tz="
            )
        with Named(f"cron {self.line!r}"):
            if self.catch_up not in ("one", "all", "skip"):
                raise BadTriggerError(f"catch_up is {self.catch_up!r}: write 'one', 'all' or 'skip'")
            if self.tz is not None:
                _check_zone(check_text(self.tz, "tz", BadTriggerError))
            if self.jitter is not None:
                jitter = to_duration(self.jitter, "jitter")
                if not timedelta(seconds=1) <= jitter <= timedelta(minutes=5):
                    raise BadTriggerError(f"jitter is {self.jitter!r}: pass a duration from 1s to 5m")

    @property
    def wire_line(self) -> str:
        """The line as registered: five fields, preceded by its time zone."""
        line = _CRON_NAMES.get(self.line.strip().lower(), self.line)
        return f"TZ={self.tz} {line}" if self.tz else line


def _other_form(fields: Sequence[str]) -> str:
    """What to write instead of a schedule in a form of other schedulers; empty if it is none that is known."""
    first = fields[0] if fields else ""
    if first.startswith("@"):
        return f"is not one of {', '.join(_CRON_NAMES)}: write one of these, or five fields such as '*/5 * * * *'"
    if first.startswith("rate("):
        return "is a rate of EventBridge: write five fields, such as '*/5 * * * *' for every five minutes"
    if first.startswith("cron("):
        return (
            "has the six fields of EventBridge: write five, without cron(…) and without the year, such as '0 10 * * *'"
        )
    if first.upper().startswith(("TZ=", "CRON_TZ=")):
        return f"has its time zone in it: write Cron({' '.join(fields[1:])!r}, tz={first.partition('=')[2]!r})"
    if len(fields) == 6:
        return (
            "has six fields: some schedulers begin with the second, others end with the year. A schedule here has "
            f"neither: write five fields (minute hour day month weekday), such as {' '.join(fields[1:])!r}; for less "
            "than a minute use a loop with step.sleep"
        )
    return ""


def _check_zone(name: str) -> None:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - needed only for crons with a zone

    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # A directory of zones, such as Europe, raises OSError.
        raise BadTriggerError(
            f"unknown time zone {name!r}: use an IANA name such as 'Europe/Paris' "
            "(install tzdata if this system has none)"
        ) from None


Trigger = AnyEvent | Cron


def list_triggers(given: Trigger | str | Iterable[Trigger | str] | None) -> list[Trigger]:
    """One trigger, several or none as a list; a string is the name of an event."""
    if given is None:
        return []
    listed = [given] if isinstance(given, str | Event | Cron) else given
    if not isinstance(cast("object", listed), Iterable):
        raise BadTriggerError(f"{given!r} is not a trigger: write Event('order/created') or Cron('0 8 * * *')")
    return [Event(each) if isinstance(each, str) else each for each in listed]


def find_events(triggers: Iterable[Trigger], name: str) -> list[AnyEvent]:
    """The event types that match an event name; for the event of an invoked function, all that have a model."""
    events = [trigger for trigger in triggers if isinstance(trigger, Event)]
    if name == EventName.INVOKED:
        return [event for event in events if event.model is not None]
    return [event for event in events if event.matches(name)]


def received_event(raw: Mapping[str, object], types: Iterable[AnyEvent], where: str) -> ReceivedEvent[object]:
    """The event of a call, with its data as the first model that matches. Raises EventMismatchError if none does."""
    name = str(raw.get("name") or "")
    data = raw.get("data")
    if not isinstance(data, dict):
        data = {}
    candidates = [event for event in types if event.model is not None]
    problem: EventMismatchError | None = None
    plain = cast("dict[str, object]", data)
    if candidates or name == EventName.INVOKED:
        # Servers of the protocol add `_inngest` to the data; neither the model nor the invoked function expects it.
        plain = {key: value for key, value in plain.items() if key != "_inngest"}
    parsed: object = plain
    for event in candidates:
        try:
            parsed = event._receive(plain)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - users would see it
        except EventMismatchError as error:
            problem = problem or error
        else:
            problem = None
            break
    if problem is not None:
        raise EventMismatchError(f"{where} received an event that it cannot read: {problem}")
    return ReceivedEvent(str(raw.get("id") or ""), name, parsed, read_moment(raw.get("ts")))


def read_tick(raw: Mapping[str, object]) -> CronTick | None:
    """The tick that an event represents; None for other events."""
    if raw.get("name") != EventName.CRON:
        return None
    data = raw.get("data")
    fields: Mapping[str, object] = cast("Mapping[str, object]", data) if isinstance(data, Mapping) else {}
    fired = _moment(fields.get("fireAt"), read_moment(raw.get("ts")))
    return CronTick(str(fields.get("cron") or ""), _moment(fields.get("scheduledAt"), fired), fired)


def _moment(text: object, default: datetime) -> datetime:
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else default
    except ValueError:
        return default
