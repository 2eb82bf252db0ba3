"""Sends events: checks them, gives them ids that stay the same in a retry, and passes them to a transport."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, cast, runtime_checkable
from urllib.parse import quote

from pydantic_core import from_json, to_json

from milepost._values.current import Named, here, in_run
from milepost._values.events import Sendable, wire_event
from milepost._values.json_types import JsonObject
from milepost._values.serializer import plain_json
from milepost.errors import ConfigError, EventRefusedError, PayloadTooLargeError, SendError
from milepost.middleware import HookCaller, Middlewares
from milepost.protocol import MAX_CHAIN_DEFAULT, MAX_EVENT_BYTES, MAX_EVENTS_PER_REQUEST, ULID_LETTERS, Header

from .chain import chained
from .http import HttpApi

if TYPE_CHECKING:
    import logging

__all__ = ["EventBatch", "EventSender", "HttpTransport", "RecordingTransport", "Transport", "step_seed"]

MAX_REQUEST_BYTES: Final = 4 * 1024 * 1024
"""Of events in one request. Servers accept 10 MiB, API Gateway and Lambda 6 MB; one event has at most 3 MiB."""
_ULID_LETTERS: Final = {letter: value for value, letter in enumerate(ULID_LETTERS)}


@dataclass(frozen=True, slots=True)
class EventBatch:
    """The events of one request, at most 5,000 and 4 MiB.

    Attributes:
        events: The events as JSON objects.
        seed: `"<milliseconds>,<base64 of 10 bytes>"`. The server derives their ids from it: the same seed gives the
            same ids, so a repeated request starts no second run.
    """

    events: tuple[JsonObject, ...]
    seed: str


@runtime_checkable
class Transport(Protocol):
    """Where events are sent. It may block: on an event loop, the SDK calls it on another thread."""

    def send(self, batch: EventBatch) -> Sequence[str]:
        """Send a batch; returns the ids of its events, in order.

        Raises SendError if a retry may help, EventRefusedError if not.
        """
        ...


class HttpTransport:
    """Sends events by `POST <base url>/e/<event key>`, in up to five tries with the same ids.

    Args:
        base_url: Address of the server, such as `"http://127.0.0.1:8288"`.
        event_key: Identifies the sender; default `NO_EVENT_KEY_SET`.
        api: The HTTP client; by default one for `base_url`.

    Raises ConfigError for an address that is not an HTTP URL.
    """

    def __init__(self, base_url: str, event_key: str | None = None, *, api: HttpApi | None = None) -> None:
        self._api = api or HttpApi(base_url)
        self._path = f"/e/{quote(event_key or 'NO_EVENT_KEY_SET', safe='')}"

    @property
    def base_url(self) -> str:
        """Address of the server, without a slash at its end."""
        return self._api.base_url

    def send(self, batch: EventBatch) -> Sequence[str]:
        """Send a batch; returns the ids of its events, in order.

        Raises SendError if the server fails or cannot be reached, EventRefusedError if it refuses an event.
        """
        reply = self._api.request(
            "POST", self._path, to_json(list(batch.events)), {Header.EVENT_ID_SEED.value: batch.seed}
        )
        try:
            answer = from_json(reply.body)
        except ValueError:
            answer = None
        fields: Mapping[str, object] = cast("Mapping[str, object]", answer) if isinstance(answer, Mapping) else {}
        listed = fields.get("ids")
        ids = tuple(str(item) for item in cast("list[object]", listed)) if isinstance(listed, list) else ()
        if reply.status == 200 and len(ids) == len(batch.events):
            return ids
        problem = fields.get("error") or reply.body[:200].decode("utf-8", "replace")
        raise EventRefusedError(
            f"{self.base_url}{self._path} accepted {len(ids)} of {len(batch.events)} events "
            f"(HTTP {reply.status}): {problem}",
            ids,
        )


class RecordingTransport:
    """Records events instead of sending them, for tests. `batches` are the batches, in order."""

    def __init__(self) -> None:
        self.batches: list[EventBatch] = []

    @property
    def events(self) -> list[JsonObject]:
        """All recorded events as JSON objects, in order."""
        return [event for batch in self.batches for event in batch.events]

    @property
    def names(self) -> list[str]:
        """The names of all recorded events, in order."""
        return [str(event["name"]) for event in self.events]

    def send(self, batch: EventBatch) -> Sequence[str]:
        """Record a batch; the ids are `event-1`, `event-2` and so on."""
        before = len(self.events)
        self.batches.append(batch)
        return [f"event-{before + position}" for position in range(1, len(batch.events) + 1)]


class EventSender:
    """Sends the events of an app. `given`: the transport comes from the app's code, not from the environment."""

    def __init__(
        self,
        transport: Transport | None,
        middlewares: Middlewares,
        now: Callable[[], datetime],
        *,
        given: bool = True,
        max_chain: int = MAX_CHAIN_DEFAULT,
        logger: Callable[[], logging.Logger] | None = None,
    ) -> None:
        self._transport = transport
        self._middlewares = middlewares
        self._now = now
        self._given = given
        self._max_chain = max_chain
        self._logger = logger
        self._defaults: list[Transport] = []

    @contextmanager
    def default(self, transport: Transport) -> Generator[None, None, None]:
        """Inside the block, use this transport instead of the one from the environment."""
        self._defaults.append(transport)
        try:
            yield
        finally:
            # The blocks may end in any order: two harnesses may use the same app.
            self._defaults.remove(transport)

    def current_default(self) -> Transport | None:
        """The transport of the innermost `default` block; None outside of them."""
        return self._defaults[-1] if self._defaults else None

    def _current_transport(self) -> Transport | None:
        return self._defaults[-1] if self._defaults and not self._given else self._transport

    async def send(
        self,
        events: Sendable | Sequence[Sendable],
        *,
        call: HookCaller,
        hand_over: Callable[[Callable[[], Sequence[str]]], Awaitable[Sequence[str]]],
        seed: Callable[[int], str] | None = None,
        middlewares: Middlewares | None = None,
    ) -> list[str]:
        """Check and send events; `seed` gives the seed of the n-th batch, `hand_over` runs the blocking call."""
        hooks = self._middlewares if middlewares is None else middlewares
        wired = _listed(events)
        if not wired:
            return []
        transport = self._current_transport()
        if transport is None:
            raise ConfigError(
                "the app does not know where to send events: set MILEPOST_EVENT_URL, or MILEPOST_DEV=1 for the dev "
                "server, or pass App(transport=…)"
            )
        if hooks:
            changed = await hooks.transform(call, "before_send_events", wired)
            wired = [_plain_event(event) for event in changed]
        wired = chained(wired, self._max_chain, self._logger)
        ids: list[str] = []
        for number, batch in enumerate(self._batches(wired, seed or self.fresh_seed)):
            try:
                ids += await hand_over(partial(transport.send, batch))
            except (SendError, EventRefusedError) as error:
                if number == 0:
                    raise
                raise type(error)(str(error), (*ids, *error.ids)) from error
        if hooks:
            await hooks.notify(call, "after_send_events", wired, ids, inwards=False)
        return ids

    def _batches(self, wired: Sequence[JsonObject], seed: Callable[[int], str]) -> list[EventBatch]:
        groups: list[list[JsonObject]] = []
        room = 0
        for event in wired:
            size = _checked_size(event)
            if not groups or len(groups[-1]) == MAX_EVENTS_PER_REQUEST or size > room:
                groups.append([])
                room = MAX_REQUEST_BYTES
            groups[-1].append(event)
            room -= size
        return [EventBatch(tuple(group), seed(number)) for number, group in enumerate(groups)]

    def place_in_chain(self, what: str) -> int:
        """The place in its chain of what a run starts; 0 outside of runs. Raises EventLoopError beyond the limit."""
        run = in_run.get()
        if run is not None:
            chained([{"name": what}], self._max_chain, self._logger)
        return 0 if run is None else run.call.chain + 1

    def fresh_seed(self, _: int = 0) -> str:
        """A seed that no other request has."""
        return _seed(round(self._now().timestamp() * 1000), os.urandom(10))


def _plain_event(event: JsonObject) -> JsonObject:
    """An event from middleware as plain JSON: an object stays an object."""
    what = f"middleware: event {event.get('name')!r}{here()}"
    return cast("JsonObject", plain_json(event, what, 1))


def _listed(events: Sendable | Sequence[Sendable]) -> Sequence[JsonObject]:
    with Named("send"):
        # A string is a sequence too, but of characters: it is refused as a whole.
        one = isinstance(cast("object", events), str | bytes) or not isinstance(events, Sequence)
        return [wire_event(event) for event in cast("Sequence[Sendable]", [events] if one else events)]


def _checked_size(event: JsonObject) -> int:
    data = to_json(event)
    if len(data) > MAX_EVENT_BYTES:
        raise PayloadTooLargeError(
            f"event {event.get('name')!r}{here()} has {len(data)} bytes of JSON; at most {MAX_EVENT_BYTES} are "
            "allowed. Store the content (in S3, for example) and send a reference to it."
        )
    return len(data)


def _seed(milliseconds: int, entropy: bytes) -> str:
    return f"{milliseconds},{base64.b64encode(entropy).decode()}"


def step_seed(run_id: str, step_id: str) -> Callable[[int], str]:
    """Seeds for the batches of one step: every attempt of the step in that run gets the same ones."""
    milliseconds = _ulid_milliseconds(run_id)

    def seed(number: int) -> str:
        return _seed(milliseconds, hashlib.sha256(f"{run_id}.{step_id}.{number}".encode()).digest()[:10])

    return seed


def _ulid_milliseconds(run_id: str) -> int:
    """One millisecond after the run id was made, so that its events are newer than the run; 0 if it is not a ULID."""
    if len(run_id) != 26 or not all(letter in _ULID_LETTERS for letter in run_id.upper()):
        return 0
    value = 0
    for letter in run_id.upper()[:10]:
        value = value * 32 + _ULID_LETTERS[letter]
    return value + 1
