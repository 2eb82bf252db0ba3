"""Identifiers: ULIDs made from a moment and ten bytes, and derived ones that make a repeat harmless.

A run's id follows from what starts it (event and function, or cron tick and function). Starting it twice therefore
writes the same header twice, and the second write changes nothing.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

from milepost.protocol import ULID_LETTERS, seeded_ulid, ulid

__all__ = [
    "derived_ulid", "first_ulid", "from_ms", "is_ulid", "last_ulid", "seeded_ulid", "short_hash", "to_ms", "ulid",
    "ulid_moment",
]  # fmt: skip

_VALUES: Final = {letter: value for value, letter in enumerate(ULID_LETTERS)}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


def to_ms(moment: datetime) -> int:
    """Whole milliseconds since 1970."""
    return (moment - _EPOCH) // _MS


def from_ms(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def derived_ulid(milliseconds: int, *parts: str) -> str:
    """A ULID that is always the same for the same moment and parts."""
    return ulid(milliseconds, hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest())


def first_ulid(milliseconds: int) -> str:
    """The smallest ULID of a moment: the start of a range of ids."""
    return ulid(milliseconds, b"\0" * 10)


def last_ulid(milliseconds: int) -> str:
    """The largest ULID of a moment: the end of a range of ids."""
    return ulid(milliseconds, b"\xff" * 10)


def is_ulid(text: str) -> bool:
    return len(text) == 26 and all(letter in _VALUES for letter in text) and text[0] < "8"


def ulid_moment(text: str) -> datetime:
    """The moment inside a ULID."""
    number = 0
    for letter in text[:10]:
        number = number * 32 + _VALUES[letter]
    return from_ms(number)


def short_hash(*parts: str) -> str:
    """Twenty hex digits that stand for the parts in a key."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:20]
