"""Puts events on an Amazon EventBridge bus.

An entry's detail is the whole event with its final id, so that a repeated entry starts no second run:

    Source "milepost" · DetailType the event's name · Detail {"event_id", "name", "data", "id"?, "ts"?, …}

Limits of "PutEvents" in the EventBridge API reference: 10 entries and 1 MB per call; each entry is accepted or refused
separately.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Final, Protocol, cast

from pydantic_core import to_json

from milepost._values.json_types import JsonObject
from milepost.errors import ConfigError, EventRefusedError, PayloadTooLargeError, SendError
from milepost.protocol import EVENTBRIDGE_SOURCE, seeded_ulid

from .sender import EventBatch
from .tries import TRIES, pause_seconds

__all__ = ["EventBridgeTransport"]

MAX_ENTRIES: Final = 10
MAX_CALL_BYTES: Final = 1_000_000
"""Below 1 MB: EventBridge adds an envelope of about 200 bytes, which counts towards the limit of its targets."""
_MAX_DETAIL_TYPE: Final = 128

_TRANSIENT: Final = frozenset({"InternalFailure", "InternalException", "ThrottlingException", "ServiceUnavailable"})

Entry = dict[str, str]
"""An entry of PutEvents."""


class EventsClient(Protocol):
    """The one method of a boto3 client of `events` that is used."""

    @property
    def put_events(self) -> Callable[..., Mapping[str, object]]: ...


class EventBridgeTransport:
    """Sends events with boto3's `put_events`, in up to five tries per call, always with the same ids.

    Only entries that failed for a transient reason, such as throttling, are tried again.

    Args:
        bus: Name or ARN of the bus. `App` takes it from MILEPOST_EVENT_BUS.
        client: A boto3 client of `events`; by default created for the first event. Needs
            `pip install 'milepost[aws]'`.
        pause: Called with the seconds to wait between tries; for tests.
    """

    def __init__(
        self, bus: str, *, client: EventsClient | None = None, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._bus = bus
        self._made = client
        self._pause = pause

    def send(self, batch: EventBatch) -> Sequence[str]:
        """Put a batch on the bus; returns the ids of its events, in order.

        Raises SendError if a retry may help; EventRefusedError if a permission or the bus is missing, or an entry was
        refused for good; PayloadTooLargeError for an event over 1 MB; ConfigError without boto3. The `ids` of the first
        two are those of the events that are known to be on the bus, in order; later ones may be there too.
        """
        client = self._client()
        milliseconds, _, entropy = batch.seed.partition(",")
        seed = base64.b64decode(entropy)
        ids = [seeded_ulid(int(milliseconds), seed, place + 1) for place in range(len(batch.events))]
        entries = [self._entry(event, event_id) for event, event_id in zip(batch.events, ids, strict=True)]
        done = 0
        for group in _groups(entries):
            self._put(client, group, tuple(ids[:done]))
            done += len(group)
        return ids

    def _entry(self, event: JsonObject, event_id: str) -> Entry:
        name = str(event["name"])
        detail = to_json({"event_id": event_id, **event}).decode()
        size = len(detail.encode())
        if size > MAX_CALL_BYTES - 1000:
            raise PayloadTooLargeError(
                f"event {name!r} has {size} bytes of JSON; EventBridge takes at most {MAX_CALL_BYTES - 1000}. "
                "Store the content (in S3, for example) and send a reference to it."
            )
        return {
            "EventBusName": self._bus,
            "Source": EVENTBRIDGE_SOURCE,
            "DetailType": name[:_MAX_DETAIL_TYPE],
            "Detail": detail,
        }

    def _put(self, client: EventsClient, entries: Sequence[Entry], before: tuple[str, ...]) -> None:
        waiting = list(entries)
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                self._pause(pause_seconds(attempt))
            results = self._put_once(client, waiting, before)
            failed = [
                (entry, result) for entry, result in zip(waiting, results, strict=True) if result.get("ErrorCode")
            ]
            if not failed:
                return
            for entry, result in failed:
                if result["ErrorCode"] not in _TRANSIENT:
                    raise EventRefusedError(
                        f"the bus {self._bus!r} refused event {entry['DetailType']!r}: "
                        f"{result['ErrorCode']}: {result.get('ErrorMessage', '')}",
                        before,
                    )
            waiting = [entry for entry, _ in failed]
            problem = f"{failed[0][1]['ErrorCode']}: {failed[0][1].get('ErrorMessage', '')}"
        raise SendError(
            f"the bus {self._bus!r} did not accept {len(waiting)} events in {TRIES} tries; last error: {problem}",
            before,
        )

    def _put_once(
        self, client: EventsClient, entries: Sequence[Entry], before: tuple[str, ...]
    ) -> Sequence[JsonObject]:
        errors = import_module("botocore.exceptions")
        try:
            return cast("Sequence[JsonObject]", client.put_events(Entries=list(entries))["Entries"])
        except errors.ClientError as error:
            answer: JsonObject = error.response
            status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = answer.get("Error", {}).get("Code", "")
            problem = f"events cannot be put on the bus {self._bus!r}: {error}"
            if status >= 500 or code in _TRANSIENT:
                raise SendError(problem, before) from error
            raise EventRefusedError(problem, before) from error
        except errors.BotoCoreError as error:
            raise SendError(f"EventBridge cannot be reached: {error}", before) from error

    def _client(self) -> EventsClient:
        if self._made is None:
            try:
                boto3 = import_module("boto3")  # takes 0.3 s, needed only to send
            except ImportError:
                raise ConfigError("sending to EventBridge needs boto3: pip install 'milepost[aws]'") from None
            self._made = cast("EventsClient", boto3.client("events"))
        return self._made


def _groups(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    group: list[Entry] = []
    size = 0
    for entry in entries:
        entry_size = sum(len(value.encode()) for value in entry.values())
        if group and (len(group) == MAX_ENTRIES or size + entry_size > MAX_CALL_BYTES):
            yield group
            group, size = [], 0
        group.append(entry)
        size += entry_size
    if group:
        yield group
