"""The functions and methods of the language, as tables.

Laws: an argument that is UNKNOWN or null makes `size` 0 and everything else false; an argument of the wrong
kind makes an ErrorValue, never an exception.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from .errors import ExpressionError
from .moments import (
    duration_text,
    moment_from_number,
    moment_text,
    parse_duration,
    parse_moment,
)
from .regex import compile_regex
from .values import ErrorValue, Missing, Work, kind_of, number_text

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FUNCTIONS", "METHODS", "CelFunction", "call", "check_literal_regex"]

Arguments = tuple[object, ...]
_INT64: Final = 2**63
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?")
_BOOLEANS: Final = {
    "true": True, "TRUE": True, "True": True, "t": True, "T": True, "1": True,
    "false": False, "FALSE": False, "False": False, "f": False, "F": False, "0": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CelFunction:
    """One function or method: how to write it, how many arguments it takes, and what it does."""

    usage: str
    fewest: int
    most: int
    run: Callable[[Arguments, Work], object]
    if_missing: object = False


def call(function: CelFunction, arguments: Arguments, work: Work) -> object:
    """The value of the function; for a method the target is the first argument."""
    for argument in arguments:
        if argument is None or isinstance(argument, Missing):
            return function.if_missing
        if isinstance(argument, str) and len(argument) > 255:
            work.spend(len(argument) >> 8)
    return function.run(arguments, work)


def check_literal_regex(pattern: object) -> None:
    """Raises ExpressionError when a pattern written in the expression cannot be used."""
    if isinstance(pattern, str):
        compile_regex(pattern)


def _size(arguments: Arguments, _work: Work) -> object:
    value = arguments[0]
    if isinstance(value, str | list | tuple | Mapping):
        return len(value)
    return ErrorValue(f"size() does not work on {kind_of(value)}")


def _int(arguments: Arguments, _work: Work) -> object:
    value = arguments[0]
    if isinstance(value, datetime):
        value = value.timestamp()
    small = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2 * _INT64
    if not small and not (isinstance(value, str) and _WHOLE.fullmatch(value)):
        return ErrorValue(f"int() cannot read {_described(value)}")
    whole = int(value)  # type: ignore[call-overload]  # a number or digits
    return whole if -_INT64 <= whole < _INT64 else ErrorValue(f"int() of {whole} does not fit into 64 bits")


def _uint(arguments: Arguments, work: Work) -> object:
    whole = _int(arguments, work)
    if isinstance(whole, int) and whole < 0:
        return ErrorValue(f"uint() of the negative number {whole}")
    return whole


def _double(arguments: Arguments, _work: Work) -> object:
    value = arguments[0]
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        number = float(value)
        return number if abs(number) != float("inf") else ErrorValue(f"double() of {_described(value)} is too large")
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return ErrorValue(f"double() of {_described(value)} is too large")
    return ErrorValue(f"double() cannot read {_described(value)}")


def _string(arguments: Arguments, _work: Work) -> object:
    match arguments[0]:
        case str() as text:
            return text
        case bool() as truth:
            return "true" if truth else "false"
        case int() | float() as number:
            return number_text(number)
        case datetime() as moment:
            return moment_text(moment)
        case timedelta() as duration:
            return duration_text(duration)
        case other:
            return ErrorValue(f"string() does not work on {kind_of(other)}")


def _bool(arguments: Arguments, _work: Work) -> object:
    value = arguments[0]
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in _BOOLEANS:
        return _BOOLEANS[value]
    return ErrorValue(f"bool() cannot read {_described(value)}")


def _duration(arguments: Arguments, _work: Work) -> object:
    value = arguments[0]
    if isinstance(value, timedelta):
        return value
    found = parse_duration(value) if isinstance(value, str) else None
    return (
        found
        if found is not None
        else ErrorValue(f"{_described(value)} is not a duration; write, for example, '1h30m'")
    )


def _date(arguments: Arguments, _work: Work) -> object:
    value = arguments[0]
    found: datetime | None = None
    if isinstance(value, datetime):
        found = value
    elif isinstance(value, str):
        found = parse_moment(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = moment_from_number(value)
    return (
        found if found is not None else ErrorValue(f"{_described(value)} is not a date; write '2020-01-31T12:00:00Z'")
    )


def _timestamp(arguments: Arguments, work: Work) -> object:
    value = arguments[0]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _moved(datetime.fromisoformat("1970-01-01T00:00:00+00:00"), ErrorValue("out of range"), seconds=value)
    return _date(arguments, work)


def _moved(moment: datetime, otherwise: ErrorValue, *, seconds: float) -> object:
    try:
        return moment + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        return otherwise


def _now(_arguments: Arguments, work: Work) -> object:
    return work.now


def _now_moved(sign: int) -> Callable[[Arguments, Work], object]:
    def run(arguments: Arguments, work: Work) -> object:
        duration = _duration(arguments, work)
        if not isinstance(duration, timedelta):
            return duration
        return _moved(work.now, ErrorValue("the moment is out of range"), seconds=sign * duration.total_seconds())

    return run


def _text_only(name: str, change: Callable[[str, Work], object]) -> Callable[[Arguments, Work], object]:
    def run(arguments: Arguments, work: Work) -> object:
        value = arguments[0]
        return (
            change(value, work) if isinstance(value, str) else ErrorValue(f"{name} does not work on {kind_of(value)}")
        )

    return run


def _two_texts(name: str, test: Callable[[str, str], bool], hint: str = "") -> Callable[[Arguments, Work], object]:
    def run(arguments: Arguments, _work: Work) -> object:
        whole, part = arguments
        if isinstance(whole, str) and isinstance(part, str):
            return test(whole, part)
        return ErrorValue(f"{name} does not work on {kind_of(whole)} with {kind_of(part)}{hint}")

    return run


def _matches(arguments: Arguments, work: Work) -> object:
    text, pattern = arguments
    if not isinstance(text, str) or not isinstance(pattern, str):
        return ErrorValue(f"matches does not work on {kind_of(text)} with {kind_of(pattern)}")
    try:
        regex = compile_regex(pattern)
    except ExpressionError as error:
        return ErrorValue(str(error))
    return regex.search(text, work.spend)


def _b64decode(text: str, _work: Work) -> object:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", errors="replace")
    except (binascii.Error, ValueError):
        return ""


def _json_parse(text: str, work: Work) -> object:
    work.spend(len(text) >> 5)
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return {}


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _described(value: object) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + "…")
    return str(kind_of(value))


FUNCTIONS: Final[dict[str, CelFunction]] = {
    "b64decode": CelFunction("b64decode(text)", 1, 1, _text_only("b64decode", _b64decode)),
    "bool": CelFunction("bool(value)", 1, 1, _bool),
    "date": CelFunction("date(text or number)", 1, 1, _date),
    "double": CelFunction("double(value)", 1, 1, _double),
    "duration": CelFunction("duration('1h30m')", 1, 1, _duration),
    "int": CelFunction("int(value)", 1, 1, _int),
    "json_parse": CelFunction("json_parse(text)", 1, 1, _text_only("json_parse", _json_parse)),
    "lowercase": CelFunction("lowercase(text)", 1, 1, _text_only("lowercase", lambda text, _: text.lower())),
    "matches": CelFunction("matches(text, pattern)", 2, 2, _matches),
    "now": CelFunction("now()", 0, 0, _now),
    "now_minus": CelFunction("now_minus('24h')", 1, 1, _now_moved(-1)),
    "now_plus": CelFunction("now_plus('24h')", 1, 1, _now_moved(1)),
    "size": CelFunction("size(value)", 1, 1, _size, if_missing=0),
    "string": CelFunction("string(value)", 1, 1, _string),
    "timestamp": CelFunction("timestamp('2020-01-31T12:00:00Z')", 1, 1, _timestamp),
    "uint": CelFunction("uint(value)", 1, 1, _uint),
    "uppercase": CelFunction("uppercase(text)", 1, 1, _text_only("uppercase", lambda text, _: text.upper())),
}

METHODS: Final[dict[str, CelFunction]] = {
    "contains": CelFunction(
        "text.contains(part)",
        1,
        1,
        _two_texts("contains", str.__contains__, "; for a list write item in list"),
    ),
    "endsWith": CelFunction("text.endsWith(end)", 1, 1, _two_texts("endsWith", str.endswith)),
    "matches": CelFunction("text.matches(pattern)", 1, 1, _matches),
    "size": CelFunction("value.size()", 0, 0, _size, if_missing=0),
    "startsWith": CelFunction("text.startsWith(start)", 1, 1, _two_texts("startsWith", str.startswith)),
}
