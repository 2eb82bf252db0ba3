"""Event names as people read them. Names that are stored or sent keep the protocol's `inngest/` prefix."""

from __future__ import annotations

from typing import Final

from milepost.protocol import EventName

__all__ = ["OWN_PREFIX", "event_word"]

OWN_PREFIX: Final = "inngest/"
"""Reserved for the events that the engine publishes itself; nobody else can send them."""

_WORDS: Final[dict[str, str]] = {
    EventName.FAILED: "function failed",
    EventName.FINISHED: "function finished",
    EventName.CANCELLED: "function cancelled",
    EventName.INVOKED: "invoked",
    EventName.CRON: "cron",
}


def event_word(name: str) -> str:
    """Words for an event of the engine's own; any other name unchanged. `eventWord` in the dashboard does the same."""
    return _WORDS.get(name, name)
