"""Writes and reads query cursors: the sort key of a page's last item, as JSON text."""

from __future__ import annotations

import json

__all__ = ["cursor_of", "sort_key_of"]


def cursor_of(sort_key: str) -> str:
    """`Page.next` for the item under this sort key."""
    return json.dumps([sort_key], separators=(",", ":"))


def sort_key_of(cursor: str) -> str:
    """The sort key in a cursor. Raises ValueError for text that is not a cursor."""
    try:
        place = json.loads(cursor)
    except ValueError:
        place = None
    if not isinstance(place, list) or len(place) != 1 or not isinstance(place[0], str):
        raise ValueError(f"not a cursor of a query: {cursor[:80]!r}; pass Page.next of the previous page")
    return place[0]
