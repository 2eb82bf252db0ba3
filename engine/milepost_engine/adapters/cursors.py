"""Writes and reads the place where a query goes on: the sort key of the last item, as JSON text."""

from __future__ import annotations

import json

__all__ = ["cursor_of", "sort_key_of"]


def cursor_of(sort_key: str) -> str:
    """`Page.next` for the item under this sort key."""
    return json.dumps([sort_key], separators=(",", ":"))


def sort_key_of(cursor: str) -> str:
    """The sort key that a cursor stands for; a made-up cursor is a ValueError."""
    try:
        place = json.loads(cursor)
    except ValueError:
        place = None
    if not isinstance(place, list) or len(place) != 1 or not isinstance(place[0], str):
        raise ValueError(f"not a cursor of a query: {cursor[:80]!r}; pass Page.next of the page before")
    return place[0]
