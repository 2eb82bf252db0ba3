"""Reads the manifest of an app (the registration body of protocol §2.1) and reports all its problems at once.

Extensions are under each function's key `milepost`: retry backoff, mode, event schemas, cron catch-up, retention.
Flow control settings are refused by name: running a function without the limit it asks for would be worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, cast

from milepost.protocol import (
    EXTENSION,
    MAX_CHAIN_CEILING,
    MAX_CHAIN_DEFAULT,
    MAX_OPEN_DAYS,
    MAX_RETENTION_DAYS,
    MAX_RETRIES,
    MAX_STEPS_CEILING,
    MAX_STEPS_DEFAULT,
    MIN_RETENTION_DAYS,
    parse_duration,
)
from milepost_engine.cel import ExpressionError, compile_expression, free_names
from milepost_engine.codec import Json
from milepost_engine.core.opcodes import policy_of
from milepost_engine.core.retries import DEFAULT_RETRIES, RetryPolicy
from milepost_engine.cron import CronLine, jitter_offset, parse_cron

__all__ = [
    "CancelTrigger",
    "CronTrigger",
    "EventTrigger",
    "FunctionSpec",
    "ManifestError",
    "read_manifest",
    "too_long_a_chain",
]

MANIFEST_VERSION: Final = 1
_FLOW_CONTROL: Final = {
    "concurrency": "concurrency",
    "throttle": "throttle",
    "rateLimit": "rate limit",
    "debounce": "debounce",
    "batchEvents": "event batching",
    "priority": "priority",
    "singleton": "singleton",
}
_EVENT: Final = ("event",)
_EVENT_AND_ASYNC: Final = ("event", "async")
"""What an expression may use: the event that starts the run; in a cancellation also the event that cancels it."""
_EXAMPLES: Final = {_EVENT: "event.data.id", _EVENT_AND_ASYNC: "event.data.id == async.data.id"}
_MAX_TRIGGERS: Final = 10
_MAX_CANCELS: Final = 5
_MAX_NAME: Final = 255
_LONGEST: Final = timedelta(days=MAX_OPEN_DAYS)


class ManifestError(Exception):
    """An app cannot be registered. `problems` are sentences; each names its function if it is about one."""

    def __init__(self, app_id: str, problems: tuple[str, ...]) -> None:
        super().__init__(
            f"[MP201] App {app_id!r} cannot be registered:\n" + "\n".join(f"- {each}" for each in problems)
        )
        self.app_id = app_id
        self.problems = problems


@dataclass(frozen=True, slots=True)
class EventTrigger:
    event: str
    expression: str = ""


@dataclass(frozen=True, slots=True)
class CronTrigger:
    line: CronLine
    text: str
    jitter: timedelta | None = None
    catch_up: str = "one"


@dataclass(frozen=True, slots=True)
class CancelTrigger:
    event: str
    expression: str = ""
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """A registered function, validated."""

    function_id: str
    app_id: str
    name: str
    triggers: tuple[EventTrigger | CronTrigger, ...] = ()
    retries: RetryPolicy = DEFAULT_RETRIES
    cancel_on: tuple[CancelTrigger, ...] = ()
    start_timeout: timedelta | None = None
    finish_timeout: timedelta | None = None
    idempotency: str = ""
    step_limit: int = MAX_STEPS_DEFAULT
    chain_limit: int = MAX_CHAIN_DEFAULT
    retention: timedelta | None = None
    ours: bool = False
    checkpoint: bool = False
    schemas: Mapping[str, Json] = field(default_factory=dict)
    raw: Mapping[str, Json] = field(default_factory=dict)

    @property
    def own_name(self) -> str:
        """The name that the author gave it; empty if that is only its id."""
        return "" if self.name in {self.function_id, self.function_id.removeprefix(f"{self.app_id}-")} else self.name


def too_long_a_chain(spec: FunctionSpec, place: int) -> str:
    """Why an event does not start a function: it is at the end of a chain of events; empty when it may."""
    if place <= spec.chain_limit:
        return ""
    return (
        f"the event is number {place} of a chain in which each event started a run that sent the next; "
        f"at most {spec.chain_limit} are allowed (App(max_chain=…))"
    )


def read_manifest(manifest: Mapping[str, Json], *, stored: bool = False) -> tuple[str, tuple[FunctionSpec, ...]]:
    """The app id and its functions. Raises ManifestError with every problem.

    A `stored` manifest was registered before, perhaps by an earlier version: unknown variables are accepted, and
    timeouts that are too long are cut to the limit.
    """
    app_id = str(manifest.get("appName") or manifest.get("appname") or "")
    if not app_id:
        raise ManifestError("", ("App ID required: the manifest has no appName.",))
    version = manifest.get("milepost_version", MANIFEST_VERSION)
    if not isinstance(version, int) or version > MANIFEST_VERSION:
        raise ManifestError(
            app_id,
            (f"The manifest has version {version}, this engine reads up to {MANIFEST_VERSION}; upgrade Milepost.",),
        )
    raw_functions = manifest.get("functions")
    if not isinstance(raw_functions, list):
        raise ManifestError(app_id, ("The manifest has no list of functions.",))
    problems: list[str] = []
    specs: list[FunctionSpec] = []
    ours = str(manifest.get("sdk", "")).startswith("milepost")
    for raw in raw_functions:
        reader = _ManifestReader(
            app_id, cast("Mapping[str, Json]", raw) if isinstance(raw, Mapping) else {}, problems, stored
        )
        spec = reader.read(ours=ours)
        if any(spec.function_id == other.function_id for other in specs):
            problems.append(f"Function {spec.function_id!r}: the id is used twice in app {app_id!r}; ids must differ.")
        specs.append(spec)
    if problems:
        raise ManifestError(app_id, tuple(problems))
    return app_id, tuple(specs)


class _ManifestReader:
    """Reads one function; problems are collected, not raised."""

    def __init__(self, app_id: str, raw: Mapping[str, Json], problems: list[str], stored: bool) -> None:  # noqa: FBT001
        self._app_id = app_id
        self._raw = raw
        self._problems = problems
        self._stored = stored
        self._id = str(raw.get("id") or "")

    def _wrong(self, problem: str) -> None:
        self._problems.append(f"Function {self._id!r}: {problem}")

    def read(self, *, ours: bool) -> FunctionSpec:
        raw = self._raw
        if not self._id:
            self._wrong("it has no id.")
        for key, word in _FLOW_CONTROL.items():
            if raw.get(key):
                self._wrong(
                    f"it asks for {word} ({key}), which Milepost does not support yet. "
                    "It is refused rather than run without the limit; remove the setting."
                )
        extra = _mapping(raw.get(EXTENSION))
        return FunctionSpec(
            function_id=self._id,
            app_id=self._app_id,
            name=str(raw.get("name") or self._id),
            triggers=self._triggers(extra),
            retries=self._retries(extra),
            cancel_on=self._cancels(),
            start_timeout=self._limited(_mapping(raw.get("timeouts")).get("start"), "timeouts.start"),
            finish_timeout=self._limited(_mapping(raw.get("timeouts")).get("finish"), "timeouts.finish"),
            idempotency=self._expression(raw.get("idempotency"), "idempotency"),
            step_limit=self._whole(extra.get("max_steps"), "max_steps", MAX_STEPS_DEFAULT, MAX_STEPS_CEILING),
            chain_limit=self._whole(extra.get("max_chain"), "max_chain", MAX_CHAIN_DEFAULT, MAX_CHAIN_CEILING),
            retention=self._retention(extra.get("retention")),
            ours=ours,
            checkpoint=extra.get("mode") == "checkpoint",
            schemas=_mapping(extra.get("event_schemas")),
            raw=raw,
        )

    def _triggers(self, extra: Mapping[str, Json]) -> tuple[EventTrigger | CronTrigger, ...]:
        listed = self._raw.get("triggers") or []
        if not isinstance(listed, list):
            self._wrong("triggers must be a list.")
            return ()
        if len(listed) > _MAX_TRIGGERS:
            self._wrong(f"it has {len(listed)} triggers; at most {_MAX_TRIGGERS} are allowed.")
        made = [self._trigger(_mapping(raw), extra) for raw in listed]
        crons = [trigger.text for trigger in made if isinstance(trigger, CronTrigger)]
        for line in {line for line in crons if crons.count(line) > 1}:
            self._wrong(f"the cron line {line!r} occurs twice; remove one.")
        return tuple(trigger for trigger in made if trigger is not None)

    def _trigger(self, raw: Mapping[str, Json], extra: Mapping[str, Json]) -> EventTrigger | CronTrigger | None:
        if raw.get("cron"):
            return self._cron(raw, extra)
        name = raw.get("event")
        if not isinstance(name, str) or not name:
            self._wrong("a trigger names neither an event nor a cron line.")
            return None
        if len(name) > _MAX_NAME:
            self._wrong(f"the trigger's event name has {len(name)} characters; at most {_MAX_NAME} are allowed.")
        star = name.find("*")
        if star >= 0 and (star != len(name) - 1 or star == 0 or name[star - 1] not in "/."):
            self._wrong(f"the wildcard in {name!r} must stand alone after the last '/' or '.', as in 'order/*'.")
        return EventTrigger(name, self._expression(raw.get("expression"), f"the trigger {name!r}"))

    def _cron(self, raw: Mapping[str, Json], extra: Mapping[str, Json]) -> CronTrigger | None:
        line = str(raw["cron"])
        try:
            parsed = parse_cron(line)
            jitter = self._duration(raw.get("jitter"), "jitter")
            if jitter is not None:
                jitter_offset(self._id, line, jitter)
        except ValueError as error:
            self._wrong(f"the cron line {line!r} cannot be read: {error}")
            return None
        catch_up = str(raw.get("catch_up") or extra.get("catch_up") or "one")
        if catch_up not in {"one", "all", "skip"}:
            self._wrong(f"catch_up is {catch_up!r}; it must be 'one', 'all' or 'skip'.")
        return CronTrigger(parsed, line, jitter, catch_up)

    def _retries(self, extra: Mapping[str, Json]) -> RetryPolicy:
        steps = _mapping(self._raw.get("steps"))
        if steps and set(steps) != {"step"}:
            self._wrong("it must have exactly one step, named 'step' (protocol §1.3).")
        plain = _mapping(_mapping(steps.get("step")).get("retries"))
        own = {**plain, **_mapping(extra.get("retries"))}
        attempts = own.get("attempts")
        if attempts is not None and not (isinstance(attempts, int) and 0 <= attempts <= MAX_RETRIES):
            self._wrong(f"retries is {attempts!r}; it must be a whole number from 0 to {MAX_RETRIES}.")
        return policy_of(own, DEFAULT_RETRIES)

    def _cancels(self) -> tuple[CancelTrigger, ...]:
        listed = self._raw.get("cancel") or []
        if not isinstance(listed, list):
            self._wrong("cancel must be a list.")
            return ()
        if len(listed) > _MAX_CANCELS:
            self._wrong(f"it is cancelled by {len(listed)} events; at most {_MAX_CANCELS} are allowed.")
        made = []
        for raw in map(_mapping, listed):
            event = str(raw.get("event") or "")
            if not event:
                self._wrong("a cancellation names no event.")
            expression = self._expression(raw.get("if"), f"the cancellation by {event!r}", _EVENT_AND_ASYNC)
            timeout = self._limited(raw.get("timeout"), f"cancel.timeout (by {event!r})")
            made.append(CancelTrigger(event, expression, timeout))
        return tuple(made)

    def _expression(self, raw: Json, where: str, known: tuple[str, ...] = _EVENT) -> str:
        if raw is None or raw == "":
            return ""
        try:
            read = compile_expression(str(raw))
            unknown = frozenset[str]() if self._stored else free_names(read.root) - {*known}
        except ExpressionError as error:
            self._wrong(f"the expression of {where} cannot be read: {error}")
            return str(raw)
        if unknown:
            # An unknown name is a missing value: such a condition is never true, such a key is always the same.
            self._wrong(
                f"the expression of {where} uses {' and '.join(sorted(unknown))}, which is not available there: "
                f"it may use {' and '.join(known)}, as in {_EXAMPLES[known]}."
            )
        return str(raw)

    def _whole(self, raw: Json, what: str, default: int, most: int) -> int:
        if raw is None:
            return default
        if not isinstance(raw, int) or isinstance(raw, bool) or not 1 <= raw <= most:
            self._wrong(f"{what} is {raw!r}; it must be a whole number from 1 to {most}.")
            return default
        return raw

    def _retention(self, raw: Json) -> timedelta | None:
        span = self._duration(raw, "retention")
        if span is not None and not timedelta(days=MIN_RETENTION_DAYS) <= span <= timedelta(days=MAX_RETENTION_DAYS):
            self._wrong(f"retention is {raw!r}; it must be between {MIN_RETENTION_DAYS} and {MAX_RETENTION_DAYS} days.")
        return span

    def _limited(self, raw: Json, where: str) -> timedelta | None:
        """A timeout: no longer than a sleep, else it may lie beyond the calendar or the run's retention."""
        span = self._duration(raw, where)
        if span is None or span <= _LONGEST:
            return span
        if not self._stored:
            self._wrong(f"{where} is {raw!r}; at most {MAX_OPEN_DAYS} days are allowed. Use a shorter one, or none.")
        return _LONGEST

    def _duration(self, raw: Json, where: str) -> timedelta | None:
        if raw is None or raw == "":
            return None
        try:
            return parse_duration(str(raw))
        except (OverflowError, ValueError) as error:
            self._wrong(f"{where} {raw!r} cannot be read: {error}")
            return None


def _mapping(value: Json) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", value) if isinstance(value, Mapping) else {}
