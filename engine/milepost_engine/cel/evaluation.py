"""Evaluates an expression: from a tree and variables to a value.

Laws (the dialect):
1. What is missing is UNKNOWN at any depth, including a field of something that is not a map.
2. UNKNOWN == x only if x is null; != is the inverse.
3. UNKNOWN is less than anything on its right, not greater: `<` `<=` true, `>` `>=` false; mirrored on the right.
4. In an ordering null is the zero of the other side's kind.
5. Equality across kinds is false; numbers compare by value, lists and maps deeply.
6. `+` adds numbers, joins strings and lists, moves moments; else it concatenates texts; next to UNKNOWN or
   null it gives the other side.
7. `||` is the first truthy operand or the last, `&&` the first falsy or the last; `?:` decides by truthiness.
8. `size` of UNKNOWN or null is 0, every other function, method and operator on them is false.
What cannot be computed is an ErrorValue: UNKNOWN inside an expression, an error as its result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from .errors import ExpressionError
from .functions import FUNCTIONS, METHODS, call
from .operators import ARITHMETIC, COMPARISONS
from .tree import (
    And,
    CallNode,
    Chain,
    Choice,
    Compare,
    Expression,
    HasNode,
    Index,
    ListOf,
    Literal,
    Macro,
    MapOf,
    Method,
    Negate,
    Node,
    Not,
    Or,
    Path,
    PathKey,
    Select,
)
from .values import (
    UNKNOWN,
    ErrorValue,
    Missing,
    Work,
    as_number,
    is_truthy,
    kind_of,
    plain,
)

__all__ = ["evaluate", "run", "value_at"]


def evaluate(expression: Expression, variables: Mapping[str, object], *, now: datetime) -> object:
    """The value of the expression: JSON-like, moments and durations as text, UNKNOWN as false.

    Numbers of events come back as doubles (7.0 for 7). `now` is what `now()` gives. Raises ExpressionError for
    a value that cannot be computed, and when the work exceeds 100,000 steps or a value a million characters.
    """
    work = Work(variables, now)
    try:
        value = run(expression.root, work)
        if isinstance(value, ErrorValue):
            raise ExpressionError(value.reason)
        return value if value is True or value is False else plain(value, work)
    except RecursionError as error:
        raise ExpressionError("the expression works on a value that is nested too deeply; name one field") from error


def run(node: Node, work: Work) -> object:
    """The value of one node, which may be UNKNOWN or an ErrorValue."""
    work.left -= 1
    if work.left < 0:
        work.spend(0)
    return _RUN[type(node)](node, work)


def value_at(value: object, keys: tuple[PathKey, ...]) -> object:
    """The value at fixed steps into a value, else UNKNOWN."""
    for key in keys:
        if type(value) is dict or isinstance(value, Mapping):  # the first test is the quick one
            value = value.get(key, UNKNOWN)
        elif isinstance(value, list | tuple) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            return UNKNOWN
    return as_number(value)


def _path(node: Path, work: Work) -> object:
    root = node.root
    scope = work.local if root in work.local else work.variables
    return value_at(scope.get(root, UNKNOWN), node.keys)


def _index(node: Index, work: Work) -> object:
    base = run(node.base, work)
    key = run(node.key, work)
    if isinstance(key, float) and key.is_integer():
        key = int(key)
    if isinstance(key, str) or (isinstance(key, int) and not isinstance(key, bool)):
        return value_at(base, (key,))
    return UNKNOWN


def _list_of(node: ListOf, work: Work) -> object:
    items = [run(item, work) for item in node.items]
    return next((item for item in items if isinstance(item, Missing)), items)


def _map_of(node: MapOf, work: Work) -> object:
    made: dict[object, object] = {}
    for key_node, value_node in node.entries:
        key = run(key_node, work)
        value = run(value_node, work)
        if isinstance(value, Missing):
            return value
        if not isinstance(key, str):
            return ErrorValue(f"a map key must be a string, not {kind_of(key)}")
        made[key] = value
    return made


def _not(node: Not, work: Work) -> object:
    value = run(node.operand, work)
    if isinstance(value, bool):
        return not value
    if value is None or isinstance(value, Missing):
        return False
    return ErrorValue(f"! works on booleans, not on {kind_of(value)}; compare with == or !=")


def _negate(node: Negate, work: Work) -> object:
    value = run(node.operand, work)
    if value is None or isinstance(value, Missing):
        return False
    if isinstance(value, int | float) and not isinstance(value, bool):
        return -value
    if isinstance(value, timedelta):
        return -value
    return ErrorValue(f"- does not work on {kind_of(value)}")


def _and(node: And, work: Work) -> object:
    value: object = True
    for operand in node.operands:
        value = run(operand, work)
        if not is_truthy(value):
            return value
    return value


def _or(node: Or, work: Work) -> object:
    value: object = False
    for operand in node.operands:
        value = run(operand, work)
        if is_truthy(value):
            return value
    return value


def _choice(node: Choice, work: Work) -> object:
    return run(node.then if is_truthy(run(node.condition, work)) else node.otherwise, work)


def _compare(node: Compare, work: Work) -> object:
    return COMPARISONS[node.operator](run(node.left, work), run(node.right, work), work)


def _chain(node: Chain, work: Work) -> object:
    value = run(node.first, work)
    for symbol, operand in node.rest:
        value = ARITHMETIC[symbol](value, run(operand, work), work)
    return value


def _call(node: CallNode, work: Work) -> object:
    return call(FUNCTIONS[node.name], tuple([run(argument, work) for argument in node.arguments]), work)


def _method(node: Method, work: Work) -> object:
    target = run(node.target, work)
    return call(METHODS[node.name], (target, *[run(argument, work) for argument in node.arguments]), work)


def _has(node: HasNode, work: Work) -> object:
    return not isinstance(run(node.target, work), Missing)


def _macro(node: Macro, work: Work) -> object:
    target = run(node.target, work)
    if target is None or isinstance(target, Missing):
        return False
    if not isinstance(target, list | tuple | Mapping):
        return ErrorValue(f"{node.name} works on lists and maps, not on {kind_of(target)}")
    shadowed = work.local.get(node.variable, _macro)
    try:
        return _MACROS[node.name](node, target, work)
    finally:
        if shadowed is _macro:
            work.local.pop(node.variable, None)
        else:
            work.local[node.variable] = shadowed


def _holds(node: Macro, item: object, work: Work) -> bool:
    work.local[node.variable] = as_number(item)
    return is_truthy(run(node.body, work))


def _map(node: Macro, items: Iterable[object], work: Work) -> object:
    made: list[object] = []
    for item in items:
        if node.transform is not None and not _holds(node, item, work):
            continue
        work.local[node.variable] = as_number(item)
        value = run(node.transform or node.body, work)
        if isinstance(value, Missing):
            return value
        made.append(value)
    return made


_MACROS: Final[dict[str, Callable[[Macro, Iterable[object], Work], object]]] = {
    "all": lambda node, items, work: all(_holds(node, item, work) for item in items),
    "exists": lambda node, items, work: any(_holds(node, item, work) for item in items),
    "exists_one": lambda node, items, work: sum(_holds(node, item, work) for item in items) == 1,
    "filter": lambda node, items, work: [item for item in items if _holds(node, item, work)],
    "map": _map,
}
_RUN: Final[dict[type, Callable[[Any, Work], object]]] = {
    Literal: lambda node, _: node.value,
    Path: _path,
    Select: lambda node, work: value_at(run(node.base, work), node.keys),
    Index: _index,
    ListOf: _list_of,
    MapOf: _map_of,
    Not: _not,
    Negate: _negate,
    And: _and,
    Or: _or,
    Chain: _chain,
    Compare: _compare,
    Choice: _choice,
    CallNode: _call,
    Method: _method,
    HasNode: _has,
    Macro: _macro,
}
