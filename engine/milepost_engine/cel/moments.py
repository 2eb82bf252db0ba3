"""Timestamps and durations of expressions: from text and to text."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

__all__ = ["duration_text", "moment_from_number", "moment_text", "parse_duration", "parse_moment"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_2000: Final = 946_684_800
_ISO: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)?)?", re.ASCII
)
_MAIL: Final = re.compile(
    r"(?:[A-Za-z]{3,9}, )?(\d\d?)[ -]([A-Za-z]{3})[ -](\d{4}|\d\d) (\d\d):(\d\d)(?::(\d\d))? (UTC|GMT|Z|[+-]\d{4})",
    re.ASCII,
)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h|d|w)", re.ASCII)
_MICROSECONDS: Final = {
    "ns": 0.001, "us": 1, "µs": 1, "μs": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000,
    "d": 86_400_000_000, "w": 604_800_000_000,
}  # fmt: skip


def parse_moment(text: str) -> datetime | None:
    """The moment in UTC that an ISO 8601 or mail date names, or None. Without an offset it is UTC."""
    try:
        if (iso := _ISO.fullmatch(text)) is not None:
            year, month, day, hour, minute, second, fraction, offset = iso.groups()
            clock = (
                int(hour or 0),
                int(minute or 0),
                int(second or 0),
                int((fraction or "0").ljust(6, "0")[:6]),
            )
            return _in_utc(int(year), int(month), int(day), clock, (offset or "Z").replace(":", ""))
        if (mail := _MAIL.fullmatch(text)) is not None:
            day, name, year, hour, minute, second, offset = mail.groups()
            century = 0 if len(year) > 2 else 2000 if int(year) < 69 else 1900
            month_number = _MONTHS.index(name.lower()) + 1
            clock = (int(hour), int(minute), int(second or 0), 0)
            return _in_utc(century + int(year), month_number, int(day), clock, offset)
    except (ValueError, OverflowError):
        return None
    return None


def _in_utc(year: int, month: int, day: int, clock: tuple[int, int, int, int], offset: str) -> datetime:
    hour, minute, second, microsecond = clock
    zone: timezone = UTC
    if offset[0] in "+-":
        zone = timezone(int(offset[0] + "1") * timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5])))
    return datetime(year, month, day, hour, minute, second, microsecond, tzinfo=zone).astimezone(UTC)


def moment_from_number(number: float) -> datetime | None:
    """A moment from Unix seconds, milliseconds or nanoseconds, recognised by size; None before the year 2000."""
    if number < _YEAR_2000:
        return None
    for limit, per_second in ((9_999_999_999, 1), (9_999_999_999_999, 1_000), (float("inf"), 1_000_000_000)):
        if number < limit:
            try:
                return _EPOCH + timedelta(seconds=number / per_second)
            except OverflowError:
                return None
    return None


def parse_duration(text: str) -> timedelta | None:
    """A Go duration such as `6h35m10s` or `1.5h`, with days (`d`) and weeks (`w`) as well; else None."""
    sign = -1 if text[:1] == "-" else 1
    rest = text[1:] if text[:1] in {"-", "+"} else text
    if rest == "0":
        return timedelta(0)
    total = 0.0
    position = 0
    while position < len(rest) <= 64:
        part = _PART.match(rest, position)
        if part is None:
            return None
        total += float(part[1]) * _MICROSECONDS[part[2]]
        position = part.end()
    if position == 0 or position < len(rest):
        return None
    try:
        return sign * timedelta(microseconds=total)
    except OverflowError:
        return None


def moment_text(moment: datetime) -> str:
    """RFC 3339 in UTC, without trailing zeros: `2020-01-01T18:35:10Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def duration_text(duration: timedelta) -> str:
    """Seconds, as CEL writes a duration: `3600s`, `0.5s`."""
    whole, rest = divmod(abs(duration) // timedelta(microseconds=1), 1_000_000)
    sign = "-" if duration < timedelta(0) else ""
    fraction = f".{rest:06d}".rstrip("0") if rest else ""
    return f"{sign}{whole}{fraction}s"
