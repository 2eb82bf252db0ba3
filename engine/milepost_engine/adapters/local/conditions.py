"""Decides in Python whether a `Condition` holds for an item, exactly as DynamoDB decides it.

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
    """Whether the condition holds for the item that stands under the key (None: nothing stands there)."""
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
    # A bool is an int to Python and equal to it; to a table they are two types.
    return stored == wanted and isinstance(stored, bool) == isinstance(wanted, bool)


def _less(stored: Value, bound: int) -> bool:
    return isinstance(stored, int) and not isinstance(stored, bool) and stored < bound
