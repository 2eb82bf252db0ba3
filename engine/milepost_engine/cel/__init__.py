"""Expressions over events: CEL in the reference server's dialect.

Used for trigger conditions, waits and cancellations, and idempotency keys. Expressions are parsed once and limited in
size, depth and work; nothing here reads a clock, a file or the environment.

The modules are imported when they are first called, so a cold start without an expression does not load them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from .errors import ExpressionError

if TYPE_CHECKING:
    from .binding import Bound, bind, restore
    from .evaluation import evaluate
    from .event_keys import event_key
    from .keys import Scalar, equality_keys, index_hash, lookup
    from .match import MatchResult, explain, matches
    from .parser import compile_expression
    from .tree import Expression, free_names
    from .values import key_text
else:

    def _late(part: str, name: str) -> Any:
        """A function of one of the modules, imported when it is first called."""
        found: list[Any] = []

        def call(*args: Any, **named: Any) -> Any:
            if not found:
                found.append(getattr(import_module(f"{__name__}.{part}"), name))
            return found[0](*args, **named)

        return call

    bind, restore = _late("binding", "bind"), _late("binding", "restore")
    evaluate = _late("evaluation", "evaluate")
    event_key = _late("event_keys", "event_key")
    equality_keys, index_hash, lookup = (
        _late("keys", "equality_keys"),
        _late("keys", "index_hash"),
        _late("keys", "lookup"),
    )
    explain, matches = _late("match", "explain"), _late("match", "matches")
    compile_expression = _late("parser", "compile_expression")
    free_names = _late("tree", "free_names")
    key_text = _late("values", "key_text")

__all__ = [
    "Bound",
    "Expression",
    "ExpressionError",
    "MatchResult",
    "Scalar",
    "bind",
    "compile_expression",
    "equality_keys",
    "evaluate",
    "event_key",
    "explain",
    "free_names",
    "index_hash",
    "key_text",
    "lookup",
    "matches",
    "restore",
]

_TYPES: Final = {"Bound": "binding", "Expression": "tree", "MatchResult": "match", "Scalar": "keys"}


def __getattr__(name: str) -> Any:
    if name not in _TYPES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_TYPES[name]}"), name)
