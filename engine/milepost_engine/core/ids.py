"""Identifiers: ULIDs made from a moment and ten bytes, and the derived ones that make a repeat harmless.

A run's id is a function of what starts it (event and function, cron tick and function), so that starting it twice
writes the same header twice and the second write changes nothing.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["derived_ulid", "from_ms", "is_ulid", "seeded_ulid", "short_hash", "to_ms", "ulid", "ulid_moment"]

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_SHIFTS: Final = tuple(range(120, -1, -10))
_VALUES: Final = {letter: value for value, letter in enumerate(_ALPHABET)}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_LAST_MS: Final = 2**48 - 1


def to_ms(moment: datetime) -> int:
    """Whole milliseconds since 1970."""
    return (moment - _EPOCH) // _MS


def from_ms(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def ulid(milliseconds: int, entropy: bytes) -> str:
    """26 letters: 48 bits of time, then 80 bits of `entropy` (ten bytes)."""
    number = (min(max(milliseconds, 0), _LAST_MS) << 80) | int.from_bytes(entropy[:10], "big")
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS])


def derived_ulid(milliseconds: int, *parts: str) -> str:
    """The same ULID for the same moment and parts, always."""
    return ulid(milliseconds, hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest())


def seeded_ulid(seed_ms: int, seed: bytes, position: int) -> str:
    """The id of the `position`-th event (from 1) of a request with an event id seed (protocol §3.1)."""
    tail = (int.from_bytes(seed[6:10], "big") + position) & 0xFFFFFFFF
    return ulid(seed_ms, seed[:6] + tail.to_bytes(4, "big"))


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
