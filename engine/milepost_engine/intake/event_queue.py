"""Events on their way from whoever accepts them to the intake: packed into queue messages, many small ones in each.

An event that is too large for a message is kept first, and the message names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

from milepost_engine.codec import Json, text
from milepost_engine.core.ids import from_ms, to_ms
from milepost_engine.store.events import Event, EventStore
from milepost_engine.store.messages import EventsAccepted, MessageSender

__all__ = ["EventQueue"]

EVENTS_PER_MESSAGE: Final = 50
BYTES_PER_MESSAGE: Final = 60 * 1024
"""SQS counts a message in pieces of 64 KiB, so a larger one saves nothing; its limit is 1 MiB."""
LARGE_EVENT_BYTES: Final = 768 * 1024


class EventQueue:
    """Hands accepted events to the intake through the queue. Doing it twice starts each function once."""

    def __init__(self, events: EventStore, sender: MessageSender) -> None:
        self._events = events
        self._sender = sender

    async def send(self, events: Sequence[Event]) -> None:
        """From the moment this returns, the events are not lost."""
        packed = [await self._pack(event) for event in events]
        await self._sender.send_texts([_message(group) for group in _groups(packed)])

    async def read(self, message: EventsAccepted) -> list[Event]:
        """The events of a message; one that was erased meanwhile is left out."""
        found = [await self._unpack(raw) for raw in message.events]
        return [event for event in found if event is not None]

    async def _pack(self, event: Event) -> str:
        packed = text(_fields(event))
        if len(packed.encode()) <= LARGE_EVENT_BYTES:
            return packed
        await self._events.put(event)
        return text({"kept": event.event_id})

    async def _unpack(self, raw: Mapping[str, Json]) -> Event | None:
        if "kept" in raw:
            return await self._events.load(str(raw["kept"]))
        return Event(
            event_id=str(raw["event_id"]),
            client_id=str(raw["id"]),
            name=str(raw["name"]),
            data=cast("Mapping[str, Json]", raw["data"]),
            ts=cast("int", raw["ts"]),
            received_at=from_ms(cast("int", raw["received_at"])),
            extra=cast("Mapping[str, Json]", raw["extra"]),
            chain=cast("int", raw.get("chain", 0)),
        )


def _fields(event: Event) -> dict[str, Json]:
    return {
        "event_id": event.event_id,
        "id": event.client_id,
        "name": event.name,
        "data": event.data,
        "ts": event.ts,
        "received_at": to_ms(event.received_at),
        "extra": event.extra,
        **({"chain": event.chain} if event.chain else {}),
    }


def _groups(packed: Sequence[str]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for each in packed:
        if group and (len(group) == EVENTS_PER_MESSAGE or size + len(each.encode()) > BYTES_PER_MESSAGE):
            yield group
            group, size = [], 0
        group.append(each)
        size += len(each.encode())
    if group:
        yield group


def _message(group: Sequence[str]) -> str:
    return f'{{"t":"events","events":[{",".join(group)}]}}'
