"""Index keys of conditions: the equalities on `async` that an event must satisfy.

Law: if a bound condition is true for an event, then for each of its keys `lookup` finds an equal value in the event,
with the same hash. Waits are therefore looked up by hash, and only those found evaluate their whole condition.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from typing import TYPE_CHECKING

from .binding import Bound, conjuncts, constant
from .errors import ExpressionError
from .evaluation import value_at
from .parser import compile_expression
from .printing import keys_text
from .tree import Compare, Expression, Node, Path, PathKey

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Scalar", "equality_keys", "index_hash", "lookup"]

Scalar = str | bool | int | float
"""The values allowed as keys. Null is not: a missing field equals null too, and has no value to look up."""


def equality_keys(bound: Bound | Expression) -> tuple[tuple[str, Scalar], ...]:
    """The pairs (path, value) that every matching event must have, in the order written.

    They come from `async.path == constant` among the conditions joined by `&&`, either way round. The path is
    without `async`: `data.id`, `data.items[0]`, `["odd name"].x`.
    """
    root = bound.expression.root if isinstance(bound, Bound) else bound.root
    found: dict[str, tuple[str, Scalar]] = {}
    for part in conjuncts(root):
        if isinstance(part, Compare) and part.operator == "==":
            key = _key(part.left, part.right) or _key(part.right, part.left)
            if key is not None:
                found.setdefault(index_hash(*key), key)
    return tuple(found.values())


def index_hash(path: str, value: Scalar) -> str:
    """24 hexadecimal digits: the same for 7 and 7.0, different for 7, "7" and for 1, true."""
    if isinstance(value, bool):
        written = f"bool:{value}"
    elif isinstance(value, int | float):
        written = f"number:{int(value) if isinstance(value, int) or value.is_integer() else value!r}"
    else:
        written = f"string:{value}"
    # Lone surrogates are legal in JSON strings, so they must be hashable too.
    content = f"{path}\n{written}".encode("utf-8", errors="surrogatepass")
    return hashlib.blake2b(content, digest_size=12).hexdigest()


def lookup(path: str, event: Mapping[str, object]) -> Scalar | None:
    """The value at a key's path in an incoming event; None where no key can match (nothing, null, list, map).

    Raises ExpressionError for a path that `equality_keys` did not make.
    """
    value = value_at(event, _steps(path))
    return value if _is_scalar(value) else None  # type: ignore[return-value]  # just checked


@lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[PathKey, ...]:
    root = compile_expression(f"async{path}" if path.startswith("[") else f"async.{path}").root
    if not isinstance(root, Path):
        raise ExpressionError(f"{path!r} is not the path of an index key; paths look like data.id")
    return root.keys


def _key(side: Node, other: Node) -> tuple[str, Scalar] | None:
    if not isinstance(side, Path) or side.root != "async" or not side.keys:
        return None
    literal = constant(other)
    if literal is None or not _is_scalar(literal.value):
        return None
    return keys_text(side.keys).removeprefix("."), literal.value  # type: ignore[return-value]  # just checked


def _is_scalar(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, str | int)
