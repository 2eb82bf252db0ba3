"""Turns values, conditions and changes into DynamoDB's attribute values and expressions, and items back.

Every name is sent as a placeholder: attribute names may be reserved words or have dots.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from milepost_engine.ports import (
    Absent,
    AllOf,
    AnyOf,
    Changes,
    Condition,
    Equals,
    HasAttribute,
    In,
    Item,
    Key,
    LacksAttribute,
    LessThan,
    Value,
)

__all__ = ["Expressions", "attribute_value", "attribute_values", "item_of", "key_of"]

_Attribute = dict[str, Any]


def attribute_value(value: Value) -> _Attribute:
    """A value in DynamoDB's form."""
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int):
        return {"N": str(int(value))}
    return {"B": value}


def attribute_values(item: Item) -> dict[str, _Attribute]:
    """An item in DynamoDB's form."""
    return {name: attribute_value(value) for name, value in item.items()}


def key_of(key: Key) -> dict[str, _Attribute]:
    """A key in DynamoDB's form."""
    return {"pk": {"S": key.pk}, "sk": {"S": key.sk}}


def item_of(attributes: dict[str, _Attribute]) -> Item:
    """The item in an answer of DynamoDB."""
    return {name: _READERS[kind](raw) for name, value in attributes.items() for kind, raw in value.items()}


def _binary(raw: bytes | str) -> bytes:
    # boto3 returns bytes, the wire protocol base64.
    return bytes(raw) if not isinstance(raw, str) else base64.b64decode(raw)


_READERS: Final[dict[str, Any]] = {"S": str, "N": int, "BOOL": bool, "B": _binary}


class Expressions:
    """Collects the expressions of one request, and the names and values they use."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[str, _Attribute] = {}
        self._request: dict[str, Any] = {}

    def condition(self, condition: Condition | None) -> Expressions:
        """Adds the ConditionExpression, if there is a condition."""
        if condition is not None:
            self._request["ConditionExpression"] = self._expression(condition)
        return self

    def changes(self, changes: Changes) -> Expressions:
        """Adds the UpdateExpression."""
        clauses = {
            "SET": [f"{self.name(name)} = {self.value(value)}" for name, value in changes.set.items()],
            "REMOVE": [self.name(name) for name in changes.remove],
            "ADD": [f"{self.name(name)} {self.value(amount)}" for name, amount in changes.add.items()],
        }
        written = [f"{verb} {', '.join(parts)}" for verb, parts in clauses.items() if parts]
        self._request["UpdateExpression"] = " ".join(written)
        return self

    def add(self, field: str, expression: str) -> Expressions:
        """Adds an expression written with `name` and `value`."""
        self._request[field] = expression
        return self

    def request(self) -> dict[str, Any]:
        """The fields of the request."""
        if self._names:
            self._request["ExpressionAttributeNames"] = {mark: name for name, mark in self._names.items()}
        if self._values:
            self._request["ExpressionAttributeValues"] = self._values
        return self._request

    def name(self, attribute: str) -> str:
        """The placeholder of an attribute name."""
        return self._names.setdefault(attribute, f"#n{len(self._names)}")

    def value(self, value: Value) -> str:
        """A placeholder of the value."""
        mark = f":v{len(self._values)}"
        self._values[mark] = attribute_value(value)
        return mark

    def _expression(self, condition: Condition) -> str:
        match condition:
            case Absent():
                return f"attribute_not_exists({self.name('pk')})"
            case HasAttribute(attribute):
                return f"attribute_exists({self.name(attribute)})"
            case LacksAttribute(attribute):
                return f"attribute_not_exists({self.name(attribute)})"
            case Equals(attribute, value):
                return f"{self.name(attribute)} = {self.value(value)}"
            case LessThan(attribute, value):
                return f"{self.name(attribute)} < {self.value(value)}"
            case In(attribute, values):
                return f"{self.name(attribute)} IN ({', '.join(map(self.value, values))})"
            case AllOf(conditions):
                return self._joined(" AND ", conditions)
            case AnyOf(conditions):
                return self._joined(" OR ", conditions)

    def _joined(self, word: str, conditions: tuple[Condition, ...]) -> str:
        joined = word.join(map(self._expression, conditions))
        return f"({joined})" if len(conditions) > 1 else joined  # DynamoDB refuses redundant parentheses
