"""Puts events on an Amazon EventBridge bus.

An entry's detail is the whole event with the id that it will have, so that a repeated entry starts nothing twice:

    Source "milepost" · DetailType the event's name · Detail {"event_id", "name", "data", "id"?, "ts"?, …}
Limits of "PutEvents" in the EventBridge API reference: 10 entries and 1 MB a call; each entry is accepted or refused
on its own.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, Final

from pydantic_core import to_json

from milepost.errors import ConfigError, EventRefusedError, PayloadTooLargeError, SendError
from milepost.protocol import EVENTBRIDGE_SOURCE, seeded_ulid

from .sender import EventBatch

__all__ = ["EventBridgeTransport"]

TRIES: Final = 5
MAX_ENTRIES: Final = 10
MAX_CALL_BYTES: Final = 1_000_000
"""Of 1 MB: EventBridge adds an envelope of some 200 bytes that counts for what it delivers to."""
_MAX_DETAIL_TYPE: Final = 128
_FIRST_PAUSE_SECONDS: Final = 0.1
_FOR_NOW: Final = frozenset({"InternalFailure", "InternalException", "ThrottlingException", "ServiceUnavailable"})


class EventBridgeTransport:
    """Sends events with boto3's `put_events`; throttled entries are put again, up to five times, with the same ids.

    Args:
        bus: Name or ARN of the bus; MILEPOST_EVENT_BUS when the app makes the transport itself.
        client: A boto3 client of `events`; made at the first event by default. Needs `pip install 'milepost[aws]'`.
        pause: Waits between tries; handed in by tests.
    """

    def __init__(self, bus: str, *, client: Any = None, pause: Callable[[float], None] = time.sleep) -> None:
        self._bus = bus
        self._made: Any = client
        self._pause = pause

    def send(self, batch: EventBatch) -> Sequence[str]:
        """Put a batch on the bus.

        Raises SendError when trying again may help; EventRefusedError when a permission or the bus is missing, or an
        entry was refused for good; PayloadTooLargeError for an event over 1 MB. The `ids` of the first two are of
        events that were surely put, in order; some of those after them may have been.
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

    def _entry(self, event: Mapping[str, Any], event_id: str) -> dict[str, str]:
        name = str(event["name"])
        detail = to_json({"event_id": event_id, **event}).decode()
        size = len(detail.encode())
        if size > MAX_CALL_BYTES - 1000:
            raise PayloadTooLargeError(
                f"event {name!r} has {size} bytes of JSON; EventBridge takes at most {MAX_CALL_BYTES - 1000}. "
                "Store the content (in S3, for example) and send where it lies."
            )
        return {
            "EventBusName": self._bus,
            "Source": EVENTBRIDGE_SOURCE,
            "DetailType": name[:_MAX_DETAIL_TYPE],
            "Detail": detail,
        }

    def _put(self, client: Any, entries: Sequence[Mapping[str, str]], before: tuple[str, ...]) -> None:
        waiting = list(entries)
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                # Spread over half to all of the pause, so that many senders do not come back together.
                self._pause(_FIRST_PAUSE_SECONDS * 2 ** (attempt - 1) * (0.5 + os.urandom(1)[0] / 510))
            results = self._call(client, waiting, before)
            failed = [(entry, told) for entry, told in zip(waiting, results, strict=True) if told.get("ErrorCode")]
            if not failed:
                return
            for entry, told in failed:
                if told["ErrorCode"] not in _FOR_NOW:
                    raise EventRefusedError(
                        f"the bus {self._bus!r} does not take event {entry['DetailType']!r}: "
                        f"{told['ErrorCode']}: {told.get('ErrorMessage', '')}",
                        before,
                    )
            waiting = [entry for entry, _ in failed]
            problem = f"{failed[0][1]['ErrorCode']}: {failed[0][1].get('ErrorMessage', '')}"
        raise SendError(
            f"the bus {self._bus!r} did not take {len(waiting)} events in {TRIES} tries, lastly with {problem}", before
        )

    def _call(
        self, client: Any, entries: Sequence[Mapping[str, str]], before: tuple[str, ...]
    ) -> Sequence[Mapping[str, Any]]:
        errors: Any = import_module("botocore.exceptions")
        try:
            results: Sequence[Mapping[str, Any]] = client.put_events(Entries=list(entries))["Entries"]
        except errors.ClientError as error:
            answer: Mapping[str, Any] = error.response
            status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = answer.get("Error", {}).get("Code", "")
            problem = f"events cannot be put on the bus {self._bus!r}: {error}"
            if status >= 500 or code in _FOR_NOW:
                raise SendError(problem, before) from error
            raise EventRefusedError(problem, before) from error
        except errors.BotoCoreError as error:
            raise SendError(f"EventBridge cannot be reached: {error}", before) from error
        return results

    def _client(self) -> Any:
        if self._made is None:
            try:
                boto3: Any = import_module("boto3")  # 0.3 s that only senders pay
            except ImportError:
                raise ConfigError("sending to EventBridge needs boto3: pip install 'milepost[aws]'") from None
            self._made = boto3.client("events")
        return self._made


def _groups(entries: Sequence[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    group: list[dict[str, str]] = []
    size = 0
    for entry in entries:
        own = sum(len(value.encode()) for value in entry.values())
        if group and (len(group) == MAX_ENTRIES or size + own > MAX_CALL_BYTES):
            yield group
            group, size = [], 0
        group.append(entry)
        size += own
    if group:
        yield group
