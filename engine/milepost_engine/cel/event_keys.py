"""The key that an expression gives an event, such as an idempotency key; or none.

Law: events that lack what the key is made of are different events. An expression that is missing, null, false or an
empty text gives no key, and neither does one that is built from such a part: `"cart-" + event.data.cart` would
otherwise be the same key for all events without a cart. A default keeps it: `"cart-" + (event.data.cart || "none")`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .errors import ExpressionError
from .evaluation import evaluate, run
from .tree import (
    And,
    CallNode,
    Chain,
    Choice,
    Index,
    ListOf,
    MapOf,
    Method,
    Negate,
    Node,
    Or,
    Path,
    Select,
    children,
)
from .values import Missing, Work

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from .tree import Expression

__all__ = ["event_key"]

_BUILT: Final = (Chain, CallNode, Method, ListOf, MapOf, Negate)
"""What is built from all of its parts."""
_CHOSEN: Final = (Path, Select, Index, And, Or, Choice)
"""What is one of the values of an event, or a default."""


def event_key(expression: Expression, event: Mapping[str, object], *, now: datetime) -> object | None:
    """The value of the expression for an event; None if the event has no key, or it cannot be computed."""
    variables = {"event": event}
    try:
        if _has_gap(expression.root, Work(variables, now)):
            return None
        value = evaluate(expression, variables, now=now)
    except ExpressionError:
        return None
    return None if _is_empty(value) else value


def _has_gap(node: Node, work: Work) -> bool:
    if isinstance(node, _BUILT):
        return any(_has_gap(part, work) for part in children(node))
    return isinstance(node, _CHOSEN) and _is_empty(run(node, work))


def _is_empty(value: object) -> bool:
    return value is None or value is False or value == "" or isinstance(value, Missing)
