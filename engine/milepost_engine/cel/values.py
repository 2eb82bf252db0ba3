"""The values of expressions: JSON values, moments, durations, and the two kinds of missing value.

Laws: numbers are compared by value and everything else only within its kind; a whole number read from an event is a
double up to 2^53 and an exact integer beyond, however large; every walk over a value is charged in steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from .errors import ExpressionError
from .moments import duration_text, moment_text

__all__ = [
    "UNKNOWN",
    "ErrorValue",
    "Kind",
    "Missing",
    "Work",
    "as_number",
    "equal",
    "go_text",
    "is_truthy",
    "key_text",
    "kind_of",
    "number_text",
    "plain",
    "too_long",
]

_EXACT: Final = 2**53
MAX_STEPS: Final = 100_000
"""Nodes evaluated plus elements visited, for one evaluation: about 50 ms of work."""
MAX_TEXT: Final = 1_000_000
"""Characters of a string, and elements of a list, that an expression may build."""
MAX_VALUE_DEPTH: Final = 128
_NO_MOMENT: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Missing:
    """The value of something that is missing (UNKNOWN)."""

    __slots__ = ()


class ErrorValue(Missing):
    """The value of something that cannot be computed: like UNKNOWN inside an expression, an error as its result."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


UNKNOWN: Final = Missing()


class Work:
    """One evaluation: its variables, its `now`, and how many steps are left."""

    __slots__ = ("left", "local", "now", "variables")

    def __init__(self, variables: Mapping[str, object], now: datetime, steps: int = MAX_STEPS) -> None:
        self.variables = variables
        self.local: dict[str, object] = {}
        self.now = now
        self.left = steps

    def spend(self, steps: int) -> None:
        """Raises ExpressionError when the evaluation has used up its steps."""
        self.left -= steps
        if self.left < 0:
            raise ExpressionError(
                f"the expression needs more than {MAX_STEPS} steps on this event; use fewer nested exists, all, "
                "filter or map, shorter lists, or decide inside the function"
            )


class Kind(StrEnum):
    NULL = "null"
    BOOL = "a boolean"
    NUMBER = "a number"
    STRING = "a string"
    LIST = "a list"
    MAP = "a map"
    MOMENT = "a timestamp"
    DURATION = "a duration"
    MISSING = "a missing value"
    OTHER = "an unsupported value"


_KINDS: Final[dict[type, Kind]] = {
    type(None): Kind.NULL,
    bool: Kind.BOOL,
    int: Kind.NUMBER,
    float: Kind.NUMBER,
    str: Kind.STRING,
    list: Kind.LIST,
    tuple: Kind.LIST,
    dict: Kind.MAP,
    MappingProxyType: Kind.MAP,
    datetime: Kind.MOMENT,
    timedelta: Kind.DURATION,
    Missing: Kind.MISSING,
    ErrorValue: Kind.MISSING,
}


def kind_of(value: object) -> Kind:
    """The kind of a value; OTHER if JSON has no such kind."""
    kind = _KINDS.get(type(value))
    if kind is None:
        kind = next((known for base, known in _KINDS.items() if isinstance(value, base)), None)
        if kind is None:
            kind = Kind.MAP if isinstance(value, Mapping) else Kind.OTHER
    return kind


def as_number(value: object) -> object:
    """A value as read from an event: integers become doubles where those are exact; other values are unchanged.

    Larger integers stay as they are: as doubles, two different numbers would be equal.
    """
    if type(value) is int and -_EXACT <= value <= _EXACT:
        return float(value)
    return value


def is_truthy(value: object) -> bool:
    """False for UNKNOWN, null, false, "" and 0; true for all else, empty lists and maps included."""
    if value is True:
        return True
    if value is None or value is False or isinstance(value, Missing):
        return False
    if isinstance(value, str | int | float):
        return bool(value)
    return True


def equal(left: object, right: object, work: Work, depth: int = 0) -> bool:
    """Equality of two present values: by value among numbers, deep in lists and maps, else within one kind."""
    kind = kind_of(left)
    if kind is not kind_of(right):
        return False
    if kind is Kind.LIST or kind is Kind.MAP:
        if depth > MAX_VALUE_DEPTH:
            raise _too_deep()
        return _equal_within(left, right, work, depth)
    if kind is Kind.STRING:
        work.spend(len(left) >> 10)  # type: ignore[arg-type]  # a string
    return left == right


def _equal_within(left: object, right: object, work: Work, depth: int) -> bool:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        if len(left) != len(right):
            return False
        work.spend(len(left))
        return all(key in right and equal(value, right[key], work, depth + 1) for key, value in left.items())
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        if len(left) != len(right):
            return False
        work.spend(len(left))
        return all(equal(one, other, work, depth + 1) for one, other in zip(left, right, strict=True))
    return False


def go_text(value: object, work: Work, depth: int = 0) -> str:
    """A value inside a concatenation: `true`, `9.1`, `7` (also for 7.0), `[3 ok? true]`, `map[name:x]`.

    Whole numbers below 1e21 are written without exponent, so "user-" + 1234567 gives "user-1234567".
    """
    kind = kind_of(value)
    if depth > MAX_VALUE_DEPTH:
        raise _too_deep()
    if isinstance(value, str):
        work.spend(len(value) >> 8)
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number_text(value)
    if isinstance(value, list | tuple):
        work.spend(len(value))
        return _joined("[", [go_text(item, work, depth + 1) for item in value], "]")
    if isinstance(value, Mapping):
        work.spend(len(value))
        return _joined("map[", [f"{key}:{go_text(value[key], work, depth + 1)}" for key in sorted(value, key=str)], "]")
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, timedelta):
        return duration_text(value)
    return "<nil>" if kind in {Kind.NULL, Kind.MISSING} else str(kind)


def key_text(value: object) -> str:
    """The text of an evaluated value when it serves as a key of a limit: the same for 7 and 7.0.

    Raises ExpressionError for values of more than 100,000 parts or a million characters.
    """
    return go_text(value, Work({}, _NO_MOMENT))


def number_text(value: float) -> str:
    """A number in the fewest digits: `7` for 7.0, `1e+21` from there on."""
    if isinstance(value, int):
        return str(value)
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


def _joined(opening: str, parts: list[str], closing: str) -> str:
    if sum(map(len, parts)) > MAX_TEXT:
        raise too_long()
    return opening + " ".join(parts) + closing


def plain(value: object, work: Work, depth: int = 0) -> object:
    """A fresh JSON-like copy of a final value; moments and durations become text, UNKNOWN becomes false."""
    kind = kind_of(value)
    if depth > MAX_VALUE_DEPTH:
        raise _too_deep()
    work.spend(1)
    if isinstance(value, list | tuple):
        return [plain(item, work, depth + 1) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item, work, depth + 1) for key, item in value.items()}
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, timedelta):
        return duration_text(value)
    return False if kind in {Kind.MISSING, Kind.OTHER} else value


def too_long() -> ExpressionError:
    """The error for a string or list that grew beyond MAX_TEXT."""
    return ExpressionError(
        f"the expression builds a value of more than {MAX_TEXT} characters; concatenate short fields"
    )


def _too_deep() -> ExpressionError:
    return ExpressionError(
        f"the expression works on a value nested more than {MAX_VALUE_DEPTH} levels deep; name one field"
    )
