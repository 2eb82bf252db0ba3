"""JSON in its canonical form (RFC 8785): what an SDK of the protocol makes of a body before it checks the signature.

Protocol §2.2. Our own SDK checks the bytes that travelled, so its calls are left as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from milepost_engine.codec import Json, loads

__all__ = ["canonical"]

_LARGEST_EXACT: Final = 2**53 - 1
"""Beyond it a number is what a double makes of it, as in every SDK of the protocol."""


def canonical(body: bytes) -> bytes:
    """The same JSON in its canonical form. Raises ValueError for a number that JSON cannot have, such as 1e400."""
    import rfc8785  # noqa: PLC0415 - only where calls to another SDK are signed

    return rfc8785.dumps(_doubles(loads(body)))


def _doubles(value: Json) -> Any:
    match value:
        case bool():
            return value
        case int():
            return value if abs(value) <= _LARGEST_EXACT else float(value)
        case Mapping():
            return {name: _doubles(each) for name, each in value.items()}
        case list():
            return [_doubles(each) for each in value]
        case _:
            return value
