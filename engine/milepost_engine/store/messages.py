"""The messages on the work queue: what each one says, how it travels, and sending one for later whatever the delay.

Messages are records. They are parsed once, at the edge (`parse`), and matched by class from there on. On the wire a
message is a JSON object; `t` names its class (`MESSAGE_TYPES`) and `_WIRE_NAMES` its other keys. Two more keys belong
to every message about a run:

    run, fn     the run and its function
    n           which message this is: drawn when it is sent, the same for each delivery of it

A message due later than the queue can hold becomes a timer item; the room `timers` moves it to the queue in time.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Final, cast

from milepost.protocol import DISCOVERY
from milepost_engine.codec import Json, text
from milepost_engine.core.ids import from_ms, short_hash, to_ms
from milepost_engine.core.inputs import TimerKind
from milepost_engine.core.run import Outcome
from milepost_engine.ports import MAX_DELAY_SECONDS, Clock, Message, Queue, RandomSource, Table

__all__ = [
    "MESSAGE_TYPES",
    "TIMER_SHARDS",
    "CallToken",
    "CancelRun",
    "ChildEnded",
    "CronDue",
    "DoJob",
    "EventArrived",
    "EventsAccepted",
    "InvocationReport",
    "MessageSender",
    "MoveTimers",
    "RunMessage",
    "StartRun",
    "StepRefused",
    "SweepRuns",
    "TimerFired",
    "UnreadableMessage",
    "WatchRun",
    "WorkMessage",
    "encode",
    "parse",
    "timer_partition",
]

TIMER_SHARDS: Final = 16
"""Partitions of one minute's timers: a partition takes 1,000 of them a second."""
_KEPT_AFTER_DUE_SECONDS: Final = 7 * 86_400


class UnreadableMessage(ValueError):
    """A message that this version of Milepost cannot read; no retry will change that."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"[MP401] the work queue has a message {problem}: another version of Milepost may have sent it"
        )


# --- messages about a run ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunMessage:
    """A message about one run. `message_id` is empty until `MessageSender` sends it."""

    kind: ClassVar[str]

    run_id: str
    function_id: str
    message_id: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRun(RunMessage):
    """The run was created. `again`: sent once more, in case the first message was lost before it reached the queue."""

    kind = "start"
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DoJob(RunMessage):
    """An attempt of a job is due: of a planned step, or of a discovery.

    `succeeds` is the claim that this message takes over, if the sender had one.
    """

    kind = "job"
    job: str
    attempt: int = 0
    succeeds: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired(RunMessage):
    """A timer's moment has come."""

    kind = "timer"
    timer: TimerKind
    step_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventArrived(RunMessage):
    """An event matches a wait of the run."""

    kind = "event"
    step_id: str
    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildEnded(RunMessage):
    """A run that a step of this run invoked has ended."""

    kind = "child"
    step_id: str
    child_run_id: str
    child_function_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRefused(RunMessage):
    """A wait or an invoke could not be opened."""

    kind = "refused"
    step_id: str
    error: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRun(RunMessage):
    """The run is to be cancelled."""

    kind = "cancel"
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRun(RunMessage):
    """The sweeper is to check whether what the run waits for is overdue."""

    kind = "watch"


@dataclass(frozen=True, slots=True)
class CallToken:
    """Travels with an invocation that was handed over and comes back with its report; fields are named as they travel.

    `owner` is the claim under which the invocation was made, `turns` the number of the run's plans then, `started_at`
    is in milliseconds.
    """

    run: str
    fn: str
    job: str
    attempt: int
    owner: str
    turns: int
    started_at: int

    @classmethod
    def read(cls, fields: Mapping[str, Json]) -> CallToken:
        """The token within an event or a report. Raises ValueError when there is none."""
        try:
            return cls(
                str(fields["run"]), str(fields["fn"]), str(fields["job"]), int(cast("int", fields["attempt"])),
                str(fields["owner"]), int(cast("int", fields["turns"])), int(cast("int", fields["started_at"])),
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise ValueError(f"this does not belong to a call that Milepost made: {error!r}") from error

    def wire(self) -> dict[str, Json]:
        return asdict(self)

    @property
    def discovers(self) -> bool:
        return self.job.startswith(DISCOVERY)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationReport(RunMessage):
    """What an invocation that was handed over has answered, or why it has not.

    `at` is the discovery that the run stands at after the steps that the invocation saved itself. The body of the
    answer is here, or in the blob `body_ref`. `problem` has `kind` and `detail`.
    """

    kind = "report"
    job: str
    attempt: int
    owner: str
    turns: int
    started_at: int
    at: str = ""
    status: int = 0
    headers: Mapping[str, Json] = field(default_factory=dict)
    body: str | None = None
    body_ref: str = ""
    problem: Mapping[str, Json] | None = None

    @property
    def token(self) -> CallToken:
        return CallToken(self.run_id, self.function_id, self.job, self.attempt, self.owner, self.turns, self.started_at)


# --- other messages ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CronDue:
    """A tick of a cron line: `at` by the line, `fire_at` with its jitter."""

    kind: ClassVar[str] = "cron"
    function_id: str
    line: str
    at: datetime
    fire_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsAccepted:
    """Events that were accepted and are to be processed; each as `intake.event_queue` packs it."""

    kind: ClassVar[str] = "events"
    events: Sequence[Mapping[str, Json]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveTimers:
    """A tick has moved the first timers of a crowded partition; the others are to be moved as well."""

    kind: ClassVar[str] = "timers"
    minute: int
    shard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRuns:
    """A tick has looked at some of a function's runs; those from `first` to `last` that come after `after` are left."""

    kind: ClassVar[str] = "sweep"
    function_id: str
    first: str
    last: str
    after: str = ""


WorkMessage = RunMessage | CronDue | EventsAccepted | MoveTimers | SweepRuns

MESSAGE_TYPES: Final[Mapping[str, type[WorkMessage]]] = {
    each.kind: each
    for each in (
        StartRun, DoJob, TimerFired, EventArrived, ChildEnded, StepRefused, CancelRun, WatchRun, InvocationReport,
        CronDue, EventsAccepted, MoveTimers, SweepRuns,
    )
}  # fmt: skip

_WIRE_NAMES: Final = {
    "run_id": "run",
    "function_id": "fn",
    "message_id": "n",
    "step_id": "step",
    "event_id": "event",
    "child_run_id": "child",
    "child_function_id": "child_fn",
    "timer": "kind",
}
"""Keys on the wire that differ from the field's name."""


# --- the wire ---------------------------------------------------------------------------------------------------------


def parse(body: Json) -> WorkMessage:
    """The message that a queue delivered, already read as JSON. Raises UnreadableMessage."""
    if not isinstance(body, Mapping):
        raise UnreadableMessage("that is not a JSON object")
    word = body.get("t")
    made = MESSAGE_TYPES.get(word) if isinstance(word, str) else None
    if made is None:
        if not (body.get("run") and body.get("fn")):
            raise UnreadableMessage(_nameless(word, body))
        raise UnreadableMessage(f"of unknown kind {word!r} for run {body['run']}")
    found: dict[str, object] = {}
    for name, wire_name, read, required in _fields(made):
        raw = body.get(wire_name)
        if raw is None or (raw == "" and wire_name in _OF_RUN):
            if required:
                raise UnreadableMessage(
                    _nameless(word, body)
                    if wire_name in _OF_RUN
                    else f"of kind {word!r} for run {body.get('run', 'none')} that has no {wire_name!r}"
                )
            continue
        try:
            found[name] = read(raw)
        except (TypeError, ValueError) as error:
            raise UnreadableMessage(
                f"of kind {word!r} whose {wire_name!r} is {raw!r}, for run {body.get('run', 'none')}"
            ) from error
    message: WorkMessage = cast("Any", made)(**found)
    return message


def encode(message: WorkMessage) -> str:
    """The message as JSON text."""
    body: dict[str, Json] = {"t": message.kind}
    for name, wire_name, _, required in _fields(type(message)):
        value = getattr(message, name)
        if required or (value is not None and value not in _NOTHING):
            body[wire_name] = to_ms(value) if isinstance(value, datetime) else value
    return text(body)


_OF_RUN: Final = frozenset({"run", "fn"})
_NOTHING: Final[tuple[object, ...]] = ("", 0, False, {})


def _nameless(kind: object, body: Mapping[str, Json]) -> str:
    run, function_id = body.get("run") or "none", body.get("fn") or "none"
    return f"of kind {kind!r} that does not name its run ({run}) and function ({function_id})"


Field = tuple[str, str, Callable[[Json], object], bool]
_KNOWN: Final[dict[type[WorkMessage], tuple[Field, ...]]] = {}


def _fields(made: type[WorkMessage]) -> tuple[Field, ...]:
    """Name, key on the wire, reader, and whether it is required: of each field of a message."""
    known = _KNOWN.get(made)
    if known is None:
        known = _KNOWN[made] = _describe(made)
    return known


def _describe(made: type[WorkMessage]) -> tuple[Field, ...]:
    hints = typing.get_type_hints(made)
    return tuple(
        (
            each.name,
            _WIRE_NAMES.get(each.name, each.name),
            _reader(hints[each.name]),
            each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING,
        )
        for each in dataclasses.fields(made)
    )


def _reader(hint: object) -> Callable[[Json], object]:
    if hint is datetime:
        return lambda raw: from_ms(_checked(raw, int))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint
    if hint in {str, int, bool}:
        return lambda raw: _checked(raw, cast("type", hint))
    kinds = {typing.get_origin(each) or each for each in (typing.get_args(hint) if _is_optional(hint) else (hint,))}
    wanted = tuple(kind for kind in kinds if isinstance(kind, type) and kind is not type(None))
    return lambda raw: _checked(raw, *wanted)


def _is_optional(hint: object) -> bool:
    return type(None) in typing.get_args(hint)


def _checked(raw: Json, *kinds: type) -> Any:
    if not isinstance(raw, kinds):
        raise TypeError(f"{raw!r} is not of {kinds}")
    return raw


# --- sending ----------------------------------------------------------------------------------------------------------


def timer_partition(minute: int, shard: int) -> str:
    """`minute` is whole minutes since 1970."""
    return f"T#{minute}#{shard}"


class MessageSender:
    """Sends messages now or at a moment. `longest_delay_seconds` is what the queue itself can hold."""

    def __init__(
        self,
        queue: Queue,
        table: Table,
        clock: Clock,
        random_source: RandomSource,
        *,
        longest_delay_seconds: float = MAX_DELAY_SECONDS,
    ) -> None:
        self._queue = queue
        self._table = table
        self._clock = clock
        self._random_source = random_source
        self._longest = longest_delay_seconds

    async def send(self, *messages: WorkMessage) -> None:
        """Now, all of them."""
        if messages:
            await self._queue.send([Message(self._body(message)) for message in messages])

    async def send_texts(self, bodies: Sequence[str]) -> None:
        """Now, all of them; each is an encoded message already."""
        if bodies:
            await self._queue.send([Message(body) for body in bodies])

    async def send_at(self, message: WorkMessage, due_at: datetime) -> None:
        """At a moment; one that has passed is now."""
        delay = (due_at - self._clock.now()) / timedelta(seconds=1)
        if delay <= self._longest:
            await self._queue.send([Message(self._body(message), max(0.0, delay))])
            return
        # The same timer set twice is one item, and so one message: what names it follows from what it says.
        digest = short_hash(encode(message), str(to_ms(due_at)))
        due_ms = to_ms(due_at)
        await self._table.put(
            {
                "pk": timer_partition(due_ms // 60_000, int(digest, 16) % TIMER_SHARDS),
                "sk": f"{due_ms:015d}#{digest}",
                "body": _named(message, digest),
                "expires_at": due_ms // 1000 + _KEPT_AFTER_DUE_SECONDS,
            }
        )

    async def send_timers(self, timers: Sequence[tuple[str, int]]) -> None:
        """The messages of timer items and when they are due (milliseconds), each with the exact rest of its delay."""
        if timers:
            now_ms = to_ms(self._clock.now())
            delays = [min(max(0.0, (due_ms - now_ms) / 1000), self._longest) for _, due_ms in timers]
            await self._queue.send([Message(body, delay) for (body, _), delay in zip(timers, delays, strict=True)])

    def _body(self, message: WorkMessage) -> str:
        return _named(message, self._random_source.random_bytes(8).hex())


def _named(message: WorkMessage, message_id: str) -> str:
    """The encoded message, with what tells it from every other one."""
    if isinstance(message, RunMessage):
        message = dataclasses.replace(message, message_id=message_id)
    return encode(message)
