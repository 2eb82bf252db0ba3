"""Writes and reads the place where a query goes on: the sort keys of the last item, as JSON text."""

import json

__all__ = ["cursor_of", "place_of"]


def cursor_of(place: tuple[str, ...]) -> str:
    """`Page.next` for the item at this place: (sk) in a partition, (lsk, pk, sk) in a listing."""
    return json.dumps(place, separators=(",", ":"))


def place_of(cursor: str, *, listing: bool) -> tuple[str, ...]:
    """The place a cursor stands for; a cursor of another kind of query, or a made-up one, is a ValueError."""
    try:
        place = json.loads(cursor)
    except ValueError:
        place = None
    wanted = 3 if listing else 1
    if not isinstance(place, list) or len(place) != wanted or not all(isinstance(part, str) for part in place):
        kind = "a listing" if listing else "a partition"
        raise ValueError(f"not a cursor of {kind} query: {cursor[:80]!r}; pass Page.next of the page before")
    return tuple(place)
