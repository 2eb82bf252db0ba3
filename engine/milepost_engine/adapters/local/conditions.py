"""Evaluates a `Condition` on an item in Python, with the same result as DynamoDB.

Laws: values of different types are never equal (True is not 1); a comparison with a missing attribute is
false; only `Absent` and `LacksAttribute` hold for a missing item.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from milepost_engine.ports import (
    Absent,
    AllOf,
    AnyOf,
    Condition,
    Equals,
    HasAttribute,
    In,
    Item,
    LacksAttribute,
    LessThan,
    Value,
)

__all__ = ["holds"]


def holds(condition: Condition, item: Item | None) -> bool:
    """Whether the condition holds for the item under the key (None: there is no item)."""
    return _RULES[type(condition)](condition, item)


def _same(stored: Value, wanted: Value) -> bool:
    # In Python True equals 1; in a table they have different types.
    return stored == wanted and isinstance(stored, bool) == isinstance(wanted, bool)


def _less(stored: Value, bound: int) -> bool:
    return isinstance(stored, int) and not isinstance(stored, bool) and stored < bound


def _all(condition: AllOf, item: Item | None) -> bool:
    for part in condition.conditions:  # noqa: SIM110 - a loop takes half the time of `all`, and each claim needs this
        if not holds(part, item):
            return False
    return True


def _any(condition: AnyOf, item: Item | None) -> bool:
    for part in condition.conditions:  # noqa: SIM110 - as above
        if holds(part, item):
            return True
    return False


_RULES: Final[Mapping[type[Condition], Callable[[Any, Item | None], bool]]] = {
    Absent: lambda _, item: item is None,
    HasAttribute: lambda has, item: item is not None and has.attribute in item,
    LacksAttribute: lambda lacks, item: item is None or lacks.attribute not in item,
    Equals: lambda equals, item: (
        item is not None and equals.attribute in item and _same(item[equals.attribute], equals.value)
    ),
    LessThan: lambda less, item: (
        item is not None and less.attribute in item and _less(item[less.attribute], less.value)
    ),
    In: lambda within, item: (
        item is not None
        and within.attribute in item
        and any(_same(item[within.attribute], value) for value in within.values)
    ),
    AllOf: _all,
    AnyOf: _any,
}
