"""Cron lines: what they mean, and when they are due.

Laws:
1. A line has five fields: minute, hour, day of month, month, day of week; a prefix such as `TZ=Europe/Paris ` names its
   zone, by default UTC. If both day fields are restricted, a day that matches either counts (as in every cron).
2. A line names times on the wall clock. croniter finds them without a zone, and this module converts them to the zone.
   (croniter itself runs `30 2 * * *` twice when clocks go back.)
3. A line with fixed hours never skips and never repeats a run. A local time that clocks jump over is due at the first
   moment after the jump, once, however many such times fall into the jump. A local time that occurs twice is due at
   its first occurrence only.
4. A line for every hour (the hour field is `*`, `*/n`, or lists all 24) follows elapsed time: it is due at every moment
   whose local time matches, twice where clocks go back, never in a jump.
5. Arguments and results are moments in UTC; nothing here reads the clock.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

__all__ = ["CronLine", "jitter_offset", "latest_due", "next_after", "parse_cron", "ticks_between"]

_MAX_CHARACTERS: Final = 255
_SECOND: Final = timedelta(seconds=1)
_MICROSECOND: Final = timedelta(microseconds=1)
_MAX_JITTER: Final = timedelta(minutes=5)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAYS_OF_MONTH: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PREFIX: Final = re.compile(r"(?:CRON_)?TZ=(\S*)\s+", re.ASCII)
_ZONE: Final = re.compile(r"[A-Z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}", re.ASCII)
_PART: Final = re.compile(r"(?P<low>\*|[0-9a-z]+)(?:-(?P<high>[0-9a-z]+))?(?:/(?P<step>[0-9]{1,4}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Field:
    """One field: its name, its bounds, names for numbers, and an example for errors."""

    name: str
    low: int
    high: int
    example: str
    names: tuple[str, ...] = ()


_FIELDS: Final = (
    _Field("minute", 0, 59, "*/15"),
    _Field("hour", 0, 23, "9-17"),
    _Field("day of month", 1, 31, "1,15"),
    _Field("month", 1, 12, "jan-mar", names=_MONTHS),
    _Field("day of week", 0, 7, "mon-fri", names=_DAYS),
)


@dataclass(frozen=True, slots=True)
class CronLine:
    """A valid cron line. Make it with `parse_cron`."""

    text: str
    """The line as the user wrote it."""
    zone: str
    """The IANA name of its time zone."""
    expression: str
    """The five fields as numbers."""
    every_hour: bool
    """Whether it follows elapsed time (law 4)."""


def parse_cron(text: str) -> CronLine:
    """Parse a cron line such as `0 9 * * mon-fri` or `TZ=Europe/Paris 30 2 * * *`.

    Raises ValueError, with the field and an example, for more than 255 characters, for other than five fields, for
    descriptors such as `@daily`, unknown zones, values out of bounds, and days that no month has.
    """
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"the cron line has {len(text)} characters, the limit is {_MAX_CHARACTERS}")
    zone, line = _split_zone(text)
    words = line.split()
    if line.lstrip().startswith("@"):
        raise ValueError(
            f"the cron line {text!r} is a descriptor; write five fields, for example '0 0 * * *' for daily"
        )
    if len(words) != len(_FIELDS):
        raise ValueError(
            f"the cron line {text!r} has {len(words)} fields instead of 5 (minute, hour, day of month, month, day of "
            "week); write, for example, '0 9 * * mon-fri'"
        )
    minutes, hours, days, months, weekdays = (_expand(*pair, text) for pair in zip(_FIELDS, words, strict=True))
    weekdays = sorted({day % 7 for day in weekdays})
    free_day, free_weekday = len(days) == 31, len(weekdays) == 7
    if not free_day and free_weekday and all(days[0] > _DAYS_OF_MONTH[month - 1] for month in months):
        raise ValueError(
            f"the cron line {text!r} never runs: no month {words[3]} has a day {words[2]}; "
            "for the end of a month use for example '0 0 28 * *'"
        )
    expression = " ".join([
        _listed(minutes), _listed(hours), "*" if free_day else _listed(days), _listed(months),
        "*" if free_weekday else _listed(weekdays),
    ])  # fmt: skip
    return CronLine(text, zone, expression, every_hour=words[1].startswith("*") or len(hours) == 24)


def next_after(line: CronLine, moment: datetime) -> datetime:
    """The first moment in UTC, strictly after an aware `moment`, at which the line is due.

    Raises ValueError for a naive moment.
    """
    if moment.tzinfo is None:
        raise ValueError(f"the moment {moment.isoformat()} has no time zone; pass an aware datetime")
    zone = ZoneInfo(line.zone)
    moment = moment.astimezone(UTC)
    return _next_elapsed(line, moment, zone) if line.every_hour else _next_fixed(line, moment, zone)


def ticks_between(
    line: CronLine, start_exclusive: datetime, end_inclusive: datetime, limit: int
) -> tuple[datetime, ...]:
    """The first `limit` moments at which the line is due after the start, up to and including the end."""
    ticks: list[datetime] = []
    tick = start_exclusive
    while len(ticks) < limit and (tick := next_after(line, tick)) <= end_inclusive:
        ticks.append(tick)
    return tuple(ticks)


def latest_due(line: CronLine, armed_for: datetime, now: datetime) -> datetime | None:
    """The one tick to run now: the latest that is due, from `armed_for` on; None before `armed_for`.

    After an outage a line is therefore caught up once, not once per missed tick, at a cost that does not grow with the
    length of the outage.
    """
    if now < armed_for:
        return None
    # There is a tick in (start, now] only for early starts: find the latest such start by bisection, to the second.
    nearest, farthest = timedelta(0), now - armed_for + _SECOND
    if next_after(line, now - farthest) > now:
        return armed_for.astimezone(UTC)
    while farthest - nearest > _SECOND:
        middle = nearest + (farthest - nearest) // 2
        if next_after(line, now - middle) <= now:
            farthest = middle
        else:
            nearest = middle
    return max(next_after(line, now - farthest), armed_for.astimezone(UTC))


def jitter_offset(function_id: str, expression: str, jitter: timedelta) -> timedelta:
    """How much later than its tick a function runs: at least 1 s and less than `jitter` (exactly 1 s for 1 s).

    The same function and line always get the same offset, in whole milliseconds. Raises ValueError if `jitter` is
    outside 1 s–5 min.
    """
    if not _SECOND <= jitter <= _MAX_JITTER:
        raise ValueError(
            f"the cron jitter {jitter.total_seconds():g} s of function {function_id!r} is out of bounds; "
            "choose one between 1s and 5m, for example '30s'"
        )
    digest = hashlib.blake2b(f"{function_id}\n{expression}".encode(), digest_size=8).digest()
    room = max((jitter - _SECOND) // timedelta(milliseconds=1), 1)
    return _SECOND + timedelta(milliseconds=int.from_bytes(digest) % room)


def _next_fixed(line: CronLine, moment: datetime, zone: ZoneInfo) -> datetime:
    """Law 3. Every local time has one moment here, and later local times have later moments."""
    wall = _wall(moment, zone)
    if wall.fold:
        # Second occurrence: all local times up to the end of the repeated hour have been due already.
        wall = _wall(_transition(moment - timedelta(days=2), moment, zone) - _MICROSECOND, zone)
    ticks = _wall_ticks(line, wall.replace(fold=0))
    while True:
        tick = next(ticks)
        due = _first_moment(tick, zone)
        if due > moment:
            return due


def _next_elapsed(line: CronLine, moment: datetime, zone: ZoneInfo) -> datetime:
    """Law 4. The next local time that exists, or an earlier one if clocks go back over it first."""
    wall = _wall(moment, zone)
    due = _next_existing(line, wall.replace(fold=0), moment, zone)
    if wall.fold == 0 and _second_moment(wall, zone) is not None:
        back = _transition(moment, moment + timedelta(days=2), zone)
        due = min(due, _next_existing(line, _wall(back, zone).replace(fold=0) - _MICROSECOND, moment, zone, fold=1))
    return due


def _next_existing(line: CronLine, wall: datetime, moment: datetime, zone: ZoneInfo, *, fold: int = 0) -> datetime:
    """The first moment after `moment` of a local time after `wall`; with `fold`, second occurrences are preferred."""
    ticks = _wall_ticks(line, wall)
    while True:
        tick = next(ticks)
        first = tick.replace(tzinfo=zone).astimezone(UTC)
        if _wall(first, zone).replace(fold=0) != tick:
            # Clocks jump over this time: continue from the first local time after the jump.
            landing = _wall(_first_moment(tick, zone), zone).replace(fold=0)
            ticks = _wall_ticks(line, landing - _MICROSECOND)
            continue
        second = _second_moment(tick, zone)
        if second is not None and (fold or first <= moment):
            return second
        if first > moment:
            return first


def _wall_ticks(line: CronLine, wall: datetime) -> Iterator[datetime]:
    """Local times after `wall`, without any zone."""
    from croniter import croniter  # noqa: PLC0415 - saves 10 ms of a cold start without a cron line

    ticks = croniter(line.expression, wall)
    while True:
        yield ticks.get_next(datetime)


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    """The local time; `fold` is 1 in the second occurrence of a repeated time."""
    return moment.astimezone(zone).replace(tzinfo=None)


def _first_moment(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first moment of a local time, or the first moment after the jump that skips it."""
    moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if _wall(moment, zone).replace(fold=0) == wall:
        return moment
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return _transition(before, moment, zone)


def _second_moment(wall: datetime, zone: ZoneInfo) -> datetime | None:
    """The second moment of a local time that clocks repeat, else None."""
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return second if second > first else None


def _transition(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The last change of the offset in (before, after], to the second, by bisection.

    The two are at most two days apart, and no zone has ever changed its offset twice within so short a time.
    """
    low, high = int(before.timestamp()), int(after.timestamp()) + 1
    offset = datetime.fromtimestamp(high, zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return datetime.fromtimestamp(high, UTC)


def _split_zone(text: str) -> tuple[str, str]:
    prefix = _PREFIX.match(text)
    if prefix is None:
        if "TZ=" in text:
            raise ValueError(f"the cron line {text!r} names no zone; write, for example, 'TZ=Europe/Paris 0 9 * * *'")
        return "UTC", text
    name = prefix[1]
    if not _ZONE.fullmatch(name) or not _is_known(name):
        raise ValueError(
            f"the cron line {text!r} names the unknown time zone {name!r}; use an IANA name such as Europe/Paris"
        )
    return name, text[prefix.end() :]


def _is_known(zone: str) -> bool:
    try:
        ZoneInfo(zone)
    except (OSError, KeyError, ValueError):  # OSError: the name of a folder, such as Europe
        return False
    return True


def _expand(field: _Field, word: str, text: str) -> list[int]:
    """The numbers that a field means, in ascending order. Raises ValueError with the field and an example."""
    found: set[int] = set()
    for part in word.lower().split(","):
        match = _PART.fullmatch("*" + part[1:] if part.startswith("?") and field.name.startswith("day") else part)
        if match is None:
            raise _bad(field, word, text, f"{part!r} is not a number, a range or a step")
        found.update(_range(field, word, text, match))
    return sorted(found)


def _range(field: _Field, word: str, text: str, match: re.Match[str]) -> range:
    step = int(match["step"] or 1)
    if step < 1 or step > field.high:
        raise _bad(field, word, text, f"the step {step} is out of bounds")
    if match["low"] == "*":
        if match["high"]:
            raise _bad(field, word, text, "* cannot start a range")
        return range(field.low, _last(field) + 1, step)
    low = _number(field, word, text, match["low"])
    if match["high"]:
        high = _number(field, word, text, match["high"])
        if high < low:
            parts = f"{match['low']}-{field.high}", f"{field.low}-{match['high']}"
            instead = (
                ",".join(field.names[at] for at in (*range(low, _last(field) + 1), *range(high + 1)))
                if field.names is _DAYS
                else ",".join(parts)
            )
            raise _bad(field, word, text, f"the range {match['low']}-{match['high']} runs backwards", instead)
    else:
        high = _last(field) if match["step"] else low
    return range(low, high + 1, step)


def _last(field: _Field) -> int:
    """The last number of a field; Sunday may be written 7, but is 0."""
    return len(_DAYS) - 1 if field.names is _DAYS else field.high


def _number(field: _Field, word: str, text: str, written: str) -> int:
    if written in field.names:
        return field.names.index(written) + field.low
    if not written.isdecimal():
        raise _bad(field, word, text, f"{written!r} is not a number")
    number = int(written)
    if not field.low <= number <= field.high:
        raise _bad(field, word, text, f"{number} is not between {field.low} and {field.high}")
    return number


def _bad(field: _Field, word: str, text: str, why: str, instead: str = "") -> ValueError:
    return ValueError(
        f"the {field.name} field {word!r} of the cron line {text!r} is wrong: {why}; "
        + (f"write {instead!r}" if instead else f"write, for example, {field.example!r}")
    )


def _listed(numbers: list[int]) -> str:
    return ",".join(map(str, numbers))
