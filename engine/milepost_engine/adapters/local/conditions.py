"""Evaluates a `Condition` on an item in Python, with the same result as DynamoDB.

Laws: values of different types are never equal (True is not 1); a comparison with a missing attribute is
false; only `Absent` and `LacksAttribute` hold for a missing item.
"""

from __future__ import annotations

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
    match condition:
        case Absent():
            return item is None
        case HasAttribute(attribute):
            return item is not None and attribute in item
        case LacksAttribute(attribute):
            return item is None or attribute not in item
        case Equals(attribute, value):
            return item is not None and attribute in item and _same(item[attribute], value)
        case LessThan(attribute, value):
            return item is not None and attribute in item and _less(item[attribute], value)
        case In(attribute, values):
            return item is not None and attribute in item and any(_same(item[attribute], value) for value in values)
        case AllOf(conditions):
            return all(holds(part, item) for part in conditions)
        case AnyOf(conditions):
            return any(holds(part, item) for part in conditions)


def _same(stored: Value, wanted: Value) -> bool:
    # In Python True equals 1; in a table they have different types.
    return stored == wanted and isinstance(stored, bool) == isinstance(wanted, bool)


def _less(stored: Value, bound: int) -> bool:
    return isinstance(stored, int) and not isinstance(stored, bool) and stored < bound
