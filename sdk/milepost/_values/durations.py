"""Reads durations and moments as users write them, and formats them for the wire."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final, cast

from milepost.errors import BadDurationError
from milepost.protocol import MAX_OPEN_DAYS, MAX_RETENTION_DAYS, MIN_RETENTION_DAYS, next_millisecond, parse_duration

__all__ = ["Duration", "open_duration", "retention_duration", "to_duration", "wire_duration", "wire_moment"]

Duration = timedelta | str | int | float
"""A timedelta, a text such as `"90s"`, `"1h30m"` or `"7d"` (units w d h m s ms), or a number of seconds."""

_LONGEST_OPEN: Final = timedelta(days=MAX_OPEN_DAYS)


def to_duration(value: Duration, what: str) -> timedelta:
    """Read a duration that is not negative, or raise BadDurationError. `what` names it in the error."""
    given = cast("object", value)
    try:
        if isinstance(given, timedelta):
            read = given
        elif isinstance(given, str):
            read = parse_duration(given)
        elif isinstance(given, int | float) and not isinstance(given, bool):
            read = timedelta(seconds=given)
        else:
            raise TypeError(f"{given!r} is a {type(given).__name__}")  # noqa: TRY301 - one message for all
    except (ValueError, TypeError, OverflowError) as error:
        raise BadDurationError(
            f"{what} is not a duration ({error}): give a timedelta, seconds, or a text such as '30s', '1h30m', '7d'"
        ) from None
    if read < timedelta(0):
        raise BadDurationError(f"{what} is negative ({value!r}): give a duration of zero or more")
    return read


def open_duration(value: Duration, what: str) -> timedelta:
    """Read the length of a sleep, wait or timeout: at most 366 days, or BadDurationError."""
    read = to_duration(value, what)
    if read > _LONGEST_OPEN:
        raise BadDurationError(f"{what} is {read.days} days: at most {MAX_OPEN_DAYS} are allowed")
    return read


def retention_duration(value: Duration, what: str) -> timedelta:
    """Read a retention period: 1 to 366 days, or BadDurationError."""
    read = to_duration(value, what)
    if not timedelta(days=MIN_RETENTION_DAYS) <= read <= timedelta(days=MAX_RETENTION_DAYS):
        raise BadDurationError(
            f"{what} is {value!r}: give between {MIN_RETENTION_DAYS} and {MAX_RETENTION_DAYS} days, such as '14d'"
        )
    return read


def wire_duration(duration: timedelta) -> str:
    """Seconds or milliseconds in one unit, rounded up; at most nine characters for up to 366 days.

    The reference server reads a text of ten characters or more as a date.
    """
    milliseconds = math.ceil(duration / timedelta(milliseconds=1))
    if milliseconds % 1000 == 0 or milliseconds >= 10_000_000:
        return f"{math.ceil(milliseconds / 1000)}s"
    return f"{milliseconds}ms"


def wire_moment(value: datetime | str, what: str) -> str:
    """An aware datetime, or its ISO 8601 text with an offset, as UTC text with milliseconds.

    Raises BadDurationError for anything else.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise BadDurationError(
                f"{what} {value!r} is not a date: write it like '2026-11-23T08:00:00Z', or pass a datetime"
            ) from None
    given = cast("object", value)
    if not isinstance(given, datetime):
        raise BadDurationError(
            f"{what} is {given!r}, of type {type(given).__name__}: pass an aware datetime or its ISO 8601 text"
        )
    if given.tzinfo is None:
        raise BadDurationError(
            f"{what} {given.isoformat()} has no time zone: add an offset such as 'Z', or use datetime.now(UTC)"
        )
    try:
        return next_millisecond(given.astimezone(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:
        raise BadDurationError(f"{what} {given.isoformat()} is out of range in UTC: pass an earlier one") from None
