"""Sends events: checks them, gives them ids that survive repetition, and hands them to a transport."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, Protocol, cast, runtime_checkable
from urllib.parse import quote

from pydantic_core import from_json, to_json

from milepost._values.current import Named, here
from milepost._values.events import Sendable, wire_event
from milepost._values.serializer import plain_json
from milepost.errors import ConfigError, EventRefusedError, PayloadTooLargeError, SendError
from milepost.middleware import Caller, Middlewares
from milepost.protocol import MAX_EVENT_BYTES, MAX_EVENTS_PER_REQUEST, ULID_LETTERS, Header

from .http import HttpApi

__all__ = ["EventBatch", "EventSender", "HttpTransport", "RecordingTransport", "Transport", "step_seed"]

_ULID_LETTERS: Final = {letter: value for value, letter in enumerate(ULID_LETTERS)}


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events of one request, at most 5 000, as JSON objects.

    `seed` (`"<milliseconds>,<base64 of 10 bytes>"`) makes their ids: the same seed sent again makes the same ids, so
    a repeated request starts nothing twice.
    """

    events: tuple[Mapping[str, Any], ...]
    seed: str


@runtime_checkable
class Transport(Protocol):
    """Where events go. Called on a thread of its own, so it may block."""

    def send(self, batch: EventBatch) -> Sequence[str]:
        """Hand over a batch; give the ids of its events in order.

        Raises SendError when trying again may help, EventRefusedError when it does not.
        """
        ...


class HttpTransport:
    """Sends events by `POST <base url>/e/<event key>`, up to five times with the same ids."""

    def __init__(self, base_url: str, event_key: str | None = None, *, api: HttpApi | None = None) -> None:
        self._api = api or HttpApi(base_url)
        self._path = f"/e/{quote(event_key or 'NO_EVENT_KEY_SET', safe='')}"

    @property
    def base_url(self) -> str:
        return self._api.base_url

    def send(self, batch: EventBatch) -> Sequence[str]:
        """Hand over a batch."""
        reply = self._api.request(
            "POST", self._path, to_json(list(batch.events)), {Header.EVENT_ID_SEED.value: batch.seed}
        )
        try:
            answer = from_json(reply.body)
        except ValueError:
            answer = None
        told: Mapping[str, object] = cast("Mapping[str, object]", answer) if isinstance(answer, Mapping) else {}
        listed = told.get("ids")
        ids = tuple(str(item) for item in cast("list[object]", listed)) if isinstance(listed, list) else ()
        if reply.status == 200 and len(ids) == len(batch.events):
            return ids
        problem = told.get("error") or reply.body[:200].decode("utf-8", "replace")
        raise EventRefusedError(
            f"{self.base_url}{self._path} took {len(ids)} of {len(batch.events)} events "
            f"(HTTP {reply.status}): {problem}",
            ids,
        )


class RecordingTransport:
    """Keeps what is sent, for tests: `batches`, `events` and their `names`."""

    def __init__(self) -> None:
        self.batches: list[EventBatch] = []

    @property
    def events(self) -> list[Mapping[str, Any]]:
        """All events that were sent, in order."""
        return [event for batch in self.batches for event in batch.events]

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [str(event["name"]) for event in self.events]

    def send(self, batch: EventBatch) -> Sequence[str]:
        """Keep a batch; ids count from 1."""
        before = len(self.events)
        self.batches.append(batch)
        return [f"event-{before + position}" for position in range(1, len(batch.events) + 1)]


class EventSender:
    """Sends events for an app. `given`: the transport was named by the app's code, not by the environment."""

    def __init__(
        self, transport: Transport | None, middlewares: Middlewares, now: Callable[[], datetime], *, given: bool = True
    ) -> None:
        self._transport = transport
        self._middlewares = middlewares
        self._now = now
        self._given = given
        self._defaults: list[Transport] = []

    @contextmanager
    def default(self, transport: Transport) -> Generator[None, None, None]:
        """Meanwhile send by this transport what would go where the environment says."""
        self._defaults.append(transport)
        try:
            yield
        finally:
            # Whatever order they end in: two harnesses may have the same app.
            self._defaults.remove(transport)

    def _choose(self) -> Transport | None:
        return self._defaults[-1] if self._defaults and not self._given else self._transport

    async def send(
        self,
        events: Sendable | Sequence[Sendable],
        *,
        call: Caller,
        hand_over: Callable[[Callable[[], Sequence[str]]], Awaitable[Sequence[str]]],
        seed: Callable[[int], str] | None = None,
        middlewares: Middlewares | None = None,
    ) -> list[str]:
        """Check and send events; `seed` gives the seed of the n-th batch, `hand_over` runs what blocks."""
        hooks = self._middlewares if middlewares is None else middlewares
        wired = _listed(events)
        if not wired:
            return []
        transport = self._choose()
        if transport is None:
            raise ConfigError(
                "there is nowhere to send events to: set MILEPOST_EVENT_URL, or MILEPOST_DEV=1 for the dev server, "
                "or give App(transport=…)"
            )
        if hooks:
            wired = list(await hooks.transform(call, "before_send_events", cast("Sequence[Any]", wired)))
            wired = [plain_json(event, f"middleware: event {event.get('name')!r}{here()}", 1) for event in wired]
        ids: list[str] = []
        for number, batch in enumerate(self._batches(wired, seed or self._fresh_seed)):
            try:
                ids += await hand_over(partial(transport.send, batch))
            except (SendError, EventRefusedError) as error:
                if number == 0:
                    raise
                raise type(error)(str(error), (*ids, *error.ids)) from error
        if hooks:
            await hooks.notify(call, "after_send_events", wired, ids, inwards=False)
        return ids

    def _batches(self, wired: Sequence[Mapping[str, Any]], seed: Callable[[int], str]) -> list[EventBatch]:
        for event in wired:
            _check_size(event)
        starts = range(0, len(wired), MAX_EVENTS_PER_REQUEST)
        return [
            EventBatch(tuple(wired[start : start + MAX_EVENTS_PER_REQUEST]), seed(number))
            for number, start in enumerate(starts)
        ]

    def _fresh_seed(self, _: int) -> str:
        return _seed(round(self._now().timestamp() * 1000), os.urandom(10))


def _listed(events: Sendable | Sequence[Sendable]) -> list[Mapping[str, Any]]:
    with Named("send"):
        # A text is a sequence too, but of letters: it is refused as a whole.
        one = isinstance(cast("object", events), str | bytes) or not isinstance(events, Sequence)
        return [wire_event(event) for event in cast("Sequence[Sendable]", [events] if one else events)]


def _check_size(event: Mapping[str, Any]) -> None:
    data = to_json(event)
    if len(data) > MAX_EVENT_BYTES:
        raise PayloadTooLargeError(
            f"event {event.get('name')!r}{here()} has {len(data)} bytes of JSON; at most {MAX_EVENT_BYTES} are "
            "allowed. Store the content (in S3, for example) and send where it lies."
        )


def _seed(milliseconds: int, entropy: bytes) -> str:
    return f"{milliseconds},{base64.b64encode(entropy).decode()}"


def step_seed(run_id: str, step_id: str) -> Callable[[int], str]:
    """Seeds that are the same whenever the same step of the same run sends."""
    milliseconds = _ulid_milliseconds(run_id)

    def seed(number: int) -> str:
        return _seed(milliseconds, hashlib.sha256(f"{run_id}.{step_id}.{number}".encode()).digest()[:10])

    return seed


def _ulid_milliseconds(run_id: str) -> int:
    """When a run id was made, one millisecond on: what it sends is never older than the run. 0 for other ids."""
    if len(run_id) != 26 or not all(letter in _ULID_LETTERS for letter in run_id.upper()):
        return 0
    value = 0
    for letter in run_id.upper()[:10]:
        value = value * 32 + _ULID_LETTERS[letter]
    return value + 1
