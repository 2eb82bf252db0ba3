"""Binds the condition of a wait or cancellation: fills in the trigger event's values.

Laws: a bound condition depends on `async` alone; a missing field is null; the printed text and the tree mean the same,
so a wait can be stored as text. Constant parts are recognised, so a wait that can never end is known when it opens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from .errors import ExpressionError
from .evaluation import run, value_at
from .parser import BOUND_LIMITS, compile_within
from .printing import text_of
from .tree import (
    And,
    CallNode,
    Compare,
    Expression,
    HasNode,
    Literal,
    Macro,
    Node,
    Path,
    children,
    rebuilt,
)
from .values import ErrorValue, Missing, Work, as_number, is_truthy

__all__ = ["Bound", "bind", "conjuncts", "constant", "restore"]

_MAX_VALUE_DEPTH: Final = 24
_CLOCK: Final = frozenset({"now", "now_plus", "now_minus"})
_SOME_MOMENT: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Bound:
    """A condition that depends on `async` alone."""

    expression: Expression

    @property
    def text(self) -> str:
        """The text to show and store, such as `async.data.id == 7.0`; `restore` reads it."""
        return self.expression.text

    @property
    def never(self) -> bool:
        """Whether no event can ever match, so no wait need be opened."""
        whole = constant(self.expression.root)
        if whole is not None and whole.value is not True:
            return True
        parts = (constant(part) for part in conjuncts(self.expression.root))
        return any(part is not None and not is_truthy(part.value) for part in parts)


def bind(expression: Expression, event: Mapping[str, object]) -> Bound:
    """Replace every `event.…` by its value in the trigger event.

    Raises ExpressionError when the result exceeds 65,536 characters or a value is nested more than 24 deep.
    """
    root = _put_in(expression.root, event, frozenset())
    text = text_of(root)
    if len(text) > BOUND_LIMITS.characters:
        raise ExpressionError(
            f"with the values of the event the expression has {len(text)} characters, the limit is "
            f"{BOUND_LIMITS.characters}; compare short fields, such as ids"
        )
    return Bound(Expression(text, root))


def restore(text: str) -> Bound:
    """The bound condition in a stored text. Raises ExpressionError if `bind` did not write it."""
    return Bound(compile_within(text, BOUND_LIMITS))


def conjuncts(node: Node) -> list[Node]:
    """The conditions that must all be truthy, through nested `&&`."""
    if isinstance(node, And):
        return [part for operand in node.operands for part in conjuncts(operand)]
    return [node]


def constant(node: Node) -> Literal | None:
    """The value of a part that depends on no variable and no clock; None for other parts."""
    if not _is_constant(node, frozenset()):
        return None
    try:
        value = run(node, Work({}, _SOME_MOMENT))
    except ExpressionError as error:
        value = ErrorValue(str(error))
    return Literal(value)


def _is_constant(node: Node, inner: frozenset[str]) -> bool:
    match node:
        case Path(root=root):
            return root in inner
        case CallNode(name=name) if name in _CLOCK:
            return False
        case Macro(target=target, variable=variable, body=body, transform=transform):
            within = inner | {variable}
            parts = (body,) if transform is None else (body, transform)
            return _is_constant(target, inner) and all(_is_constant(part, within) for part in parts)
        case _:
            return all(_is_constant(child, inner) for child in children(node))


def _put_in(node: Node, event: Mapping[str, object], inner: frozenset[str]) -> Node:
    """The tree with the event's values; `inner` are the variables of the macros around it."""

    def put(part: Node) -> Node:
        return _put_in(part, event, inner)

    match node:
        case Path(root="event", keys=keys) if "event" not in inner:
            return Literal(_frozen(value_at(event, keys)))
        case HasNode(target=Path(root="event", keys=keys)) if "event" not in inner:
            return Literal(not isinstance(value_at(event, keys), Missing))
        case Macro(target=target, variable=variable, body=body, transform=transform):
            within = inner | {variable}
            return Macro(
                node.name,
                put(target),
                variable,
                _put_in(body, event, within),
                None if transform is None else _put_in(transform, event, within),
            )
        case And(operands=operands):
            return _shorter([put(operand) for operand in operands])
        case Compare(operator="==" | "!=" as operator, left=left, right=right):
            left, right = put(left), put(right)
            if isinstance(left, Literal) and not isinstance(right, Literal):
                left, right = right, left  # always in the order async.data.id == 7.0
            return Compare(operator, left, right)
        case _:
            return rebuilt(node, put)


def _shorter(operands: list[Node]) -> Node:
    """A conjunction without those conditions, except the last, that always hold."""
    kept = [part for part in operands[:-1] if (found := constant(part)) is None or not is_truthy(found.value)]
    return And((*kept, operands[-1])) if kept else operands[-1]


def _frozen(value: object, depth: int = 0) -> object:
    """A constant from an event: numbers as doubles; null for what is missing or not JSON."""
    if depth > _MAX_VALUE_DEPTH:
        raise ExpressionError(
            f"the expression compares with a value of the event that is nested more than {_MAX_VALUE_DEPTH} "
            "levels deep; name one field of it"
        )
    if isinstance(value, list | tuple):
        return tuple(_frozen(item, depth + 1) for item in value)
    if isinstance(value, Mapping):
        return MappingProxyType({str(key): _frozen(item, depth + 1) for key, item in value.items()})
    value = as_number(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else None
