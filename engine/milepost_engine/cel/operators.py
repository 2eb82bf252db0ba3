"""The binary operators, as two tables.

Laws: rules 2 to 6 and 8 of the dialect (see evaluation.py); what an operator cannot compute is an ErrorValue, never an
exception. Comparisons are exact for numbers of any size; arithmetic is done in 64 bits or doubles, as in Go.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from .values import (
    MAX_TEXT,
    ErrorValue,
    Kind,
    Missing,
    Work,
    equal,
    go_text,
    kind_of,
    too_long,
)

__all__ = ["ARITHMETIC", "COMPARISONS"]

_INT64: Final = 2**63
_TOO_LARGE: Final = "the result is too large for a double"


def _equals(left: object, right: object, work: Work) -> object:
    if isinstance(left, Missing):
        return right is None
    if isinstance(right, Missing):
        return left is None
    return equal(left, right, work)


def _differs(left: object, right: object, work: Work) -> object:
    return not _equals(left, right, work)


def _ordered(symbol: str, test: Callable[[Any, Any], bool]) -> Callable[[object, object, Work], object]:
    upwards = symbol[0] == "<"

    def ordering(left: object, right: object, work: Work) -> object:
        if isinstance(left, Missing):
            return upwards
        if isinstance(right, Missing):
            return not upwards
        kind = kind_of(left if left is not None else right)
        zero = _ZEROS.get(kind)
        if left is None:
            left = zero
        if right is None:
            right = zero
        if zero is None or kind_of(left) is not kind_of(right):
            return ErrorValue(f"{symbol} cannot compare {kind_of(left)} and {kind_of(right)}")
        if isinstance(left, str):
            work.spend(len(left) >> 10)
        return test(left, right)

    return ordering


_ZEROS: Final[dict[Kind, object]] = {
    Kind.NUMBER: 0,
    Kind.STRING: "",
    Kind.BOOL: False,
    Kind.MOMENT: datetime(1970, 1, 1, tzinfo=UTC),
    Kind.DURATION: timedelta(0),
}


def _is_in(left: object, right: object, work: Work) -> object:
    if left is None or right is None or isinstance(left, Missing) or isinstance(right, Missing):
        return False
    if isinstance(right, list | tuple):
        work.spend(len(right))
        return any(equal(left, item, work) for item in right)
    if isinstance(right, Mapping):
        return isinstance(left, str) and left in right
    return ErrorValue(f"in works on lists and maps, not on {kind_of(right)}; for text write text.contains(part)")


def _add(left: object, right: object, work: Work) -> object:
    if left is None or isinstance(left, Missing):
        return False if right is None or isinstance(right, Missing) else right
    if right is None or isinstance(right, Missing):
        return left
    if isinstance(left, str) and isinstance(right, str):
        return _joined(left, right, work)
    kinds = kind_of(left), kind_of(right)
    match kinds:
        case (Kind.NUMBER, Kind.NUMBER):
            return _computed(operator.add, left, right)
        case (Kind.LIST, Kind.LIST):
            work.spend(len(left) + len(right))  # type: ignore[arg-type]  # lists
            return [*left, *right]  # type: ignore[misc]  # lists
        case (Kind.MOMENT, Kind.DURATION) | (Kind.DURATION, Kind.MOMENT) | (Kind.DURATION, Kind.DURATION):
            return _moved(left, right, 1)
        case (one, other) if one is other:
            return ErrorValue(f"+ cannot add {one} and {other}")
    return _joined(go_text(left, work), go_text(right, work), work)


def _joined(left: str, right: str, work: Work) -> str:
    length = len(left) + len(right)
    if length > MAX_TEXT:
        raise too_long()
    work.spend(length >> 8)
    return left + right


def _subtract(left: object, right: object, _work: Work) -> object:
    match kind_of(left), kind_of(right):
        case (Kind.NUMBER, Kind.NUMBER):
            return _computed(operator.sub, left, right)
        case (Kind.MOMENT, Kind.MOMENT) | (Kind.MOMENT, Kind.DURATION) | (Kind.DURATION, Kind.DURATION):
            return _moved(left, right, -1)
        case kinds:
            return _no_arithmetic("-", kinds)


def _moved(left: Any, right: Any, sign: int) -> object:
    try:
        return left + right if sign > 0 else left - right
    except OverflowError:
        return ErrorValue("the moment or duration is out of range")


def _multiply(left: object, right: object, _work: Work) -> object:
    kinds = kind_of(left), kind_of(right)
    if kinds != (Kind.NUMBER, Kind.NUMBER):
        return _no_arithmetic("*", kinds)
    return _computed(operator.mul, left, right)


def _divide(left: Any, right: Any, _work: Work) -> object:
    kinds = kind_of(left), kind_of(right)
    if kinds != (Kind.NUMBER, Kind.NUMBER):
        return _no_arithmetic("/", kinds)
    return ErrorValue("division by zero") if right == 0 else _computed(_quotient, left, right)


def _quotient(left: float, right: float) -> float:
    if isinstance(left, int) and isinstance(right, int):
        quotient = abs(left) // abs(right)  # towards zero, as in Go
        return quotient if (left < 0) is (right < 0) else -quotient
    return left / right


def _remainder(left: Any, right: Any, _work: Work) -> object:
    kinds = kind_of(left), kind_of(right)
    if kinds != (Kind.NUMBER, Kind.NUMBER):
        return _no_arithmetic("%", kinds)
    return ErrorValue("division by zero") if right == 0 else _computed(_rest, left, right)


def _rest(left: float, right: float) -> float:
    if isinstance(left, int) and isinstance(right, int):
        rest = abs(left) % abs(right)  # the sign of the left side, as in Go
        return -rest if left < 0 else rest
    return math.fmod(left, right)


def _computed(calculate: Callable[[Any, Any], float], left: object, right: object) -> object:
    """The result for two numbers; one that does not fit into 64 bits is a double here."""
    try:
        return _checked(calculate(*(_sized(number) for number in (left, right))))
    except OverflowError:
        return ErrorValue(_TOO_LARGE)


def _sized(number: object) -> object:
    return float(number) if isinstance(number, int) and not -_INT64 <= number < _INT64 else number


def _checked(value: float) -> object:
    """A result within 64 bits or a finite double; else an ErrorValue."""
    if isinstance(value, int):
        return value if -_INT64 <= value < _INT64 else ErrorValue("the integer result does not fit into 64 bits")
    return value if math.isfinite(value) else ErrorValue(_TOO_LARGE)


def _no_arithmetic(symbol: str, kinds: tuple[Kind, Kind]) -> object:
    if Kind.NULL in kinds or Kind.MISSING in kinds:
        return False
    return ErrorValue(f"{symbol} does not work on {kinds[0]} and {kinds[1]}")


COMPARISONS: Final[dict[str, Callable[[object, object, Work], object]]] = {
    "==": _equals,
    "!=": _differs,
    "<": _ordered("<", operator.lt),
    "<=": _ordered("<=", operator.le),
    ">": _ordered(">", operator.gt),
    ">=": _ordered(">=", operator.ge),
    "in": _is_in,
}
ARITHMETIC: Final[dict[str, Callable[[object, object, Work], object]]] = {
    "+": _add,
    "-": _subtract,
    "*": _multiply,
    "/": _divide,
    "%": _remainder,
}
