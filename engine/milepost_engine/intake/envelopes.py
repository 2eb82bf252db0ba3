"""EventBridge's envelope, read as an event.

    who put it                     name of the event         its data
    app.send() of our SDK          detail.name               detail.data; id, ts and the rest as sent
    PutEvents by anybody else      detail-type               detail
    a service of AWS               source/detail-type        detail        aws.s3/Object Created

The event's id follows from the envelope's: an envelope that is delivered twice starts each function once.
Source: "AWS service event metadata" in the Amazon EventBridge user guide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, cast

from milepost.protocol import EVENTBRIDGE_SOURCE
from milepost_engine.codec import Json
from milepost_engine.core.ids import is_ulid, seeded_ulid, to_ms
from milepost_engine.ports import RandomSource
from milepost_engine.store.events import Event, EventProblem, read_events

__all__ = ["read_envelope"]

_AWS: Final = "aws."
_ABOUT_SERVICES: Final = ("account", "region", "resources")


def read_envelope(envelope: Json, *, now: datetime, random_source: RandomSource) -> Event:
    """The event in an envelope. Raises EventProblem, which says what is wrong and who sent it."""
    if not isinstance(envelope, Mapping):
        raise EventProblem("the message is not an EventBridge event: it is not a JSON object")
    missing = [key for key in ("id", "source", "detail-type", "detail") if key not in envelope]
    if missing:
        raise EventProblem(f"the message is not an EventBridge event: it has no {', '.join(missing)}")
    source, kind, detail = str(envelope["source"]), str(envelope["detail-type"]), envelope["detail"]
    if not isinstance(detail, Mapping):
        found = type(detail).__name__
        raise EventProblem(f"the detail of {kind!r} from {source!r} must be a JSON object, but it is {found}")
    taken_at = _moment(envelope.get("time"), now)
    body = _sent(detail) if source == EVENTBRIDGE_SOURCE else _put(envelope, source, kind, detail, taken_at)
    read = read_events(cast("Json", body), now=now, random_source=random_source)
    if read.problem:
        raise EventProblem(f"{read.problem} (detail-type {kind!r} from {source!r})")
    return _identified(read.events[0], envelope, detail, source, taken_at)


def _sent(detail: Mapping[str, Json]) -> dict[str, Json]:
    """What our SDK put there: the whole event."""
    return {key: value for key, value in detail.items() if key != "event_id"}


def _put(
    envelope: Mapping[str, Json], source: str, kind: str, detail: Mapping[str, Json], taken_at: datetime
) -> dict[str, Json]:
    meta: dict[str, Json] = {"source": source}
    name = kind
    if source.startswith(_AWS):
        name = f"{source}/{kind}"
        meta |= {key: envelope[key] for key in _ABOUT_SERVICES if key in envelope}
    return {"name": name, "data": detail, "ts": to_ms(taken_at), "meta": meta}


def _identified(
    event: Event, envelope: Mapping[str, Json], detail: Mapping[str, Json], source: str, taken_at: datetime
) -> Event:
    """The event under an id that a repeat of the envelope has, too. Our SDK repeats a batch with the same ids."""
    given = str(detail.get("event_id", "")) if source == EVENTBRIDGE_SOURCE else ""
    if not is_ulid(given):
        digest = hashlib.sha256(str(envelope["id"]).encode()).digest()
        given = seeded_ulid(to_ms(taken_at), digest[:10], 1)
    client_id = given if event.client_id == event.event_id else event.client_id
    return replace(event, event_id=given, client_id=client_id)


def _moment(text: Json, now: datetime) -> datetime:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return now
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
