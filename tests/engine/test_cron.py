"""Cron lines: what they accept, and when they are due, also where clocks are changed."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import milepost_engine.cron as module
from milepost_engine.cron import CronLine, jitter_offset, latest_due, next_after, parse_cron, ticks_between

MINUTE = timedelta(minutes=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def local_ticks(text: str, start: str, count: int) -> list[str]:
    """The next ticks after a local moment (with offset), as local times."""
    line = parse_cron(text)
    ticks = ticks_between(line, utc(start), utc(start) + timedelta(days=4_000), count)
    return [tick.astimezone(ZoneInfo(line.zone)).strftime("%d %H:%M %z") for tick in ticks]


def test_a_line_is_due_at_the_next_minute_that_fits() -> None:
    line = parse_cron("*/15 9-17 * * mon-fri")
    assert next_after(line, utc("2026-03-06T17:44:59+00:00")) == utc("2026-03-06T17:45+00:00")
    assert next_after(line, utc("2026-03-06T17:45:00+00:00")) == utc("2026-03-09T09:00+00:00")


def test_a_tick_is_strictly_after_the_moment_even_by_a_microsecond() -> None:
    line = parse_cron("0 * * * *")
    assert next_after(line, utc("2026-03-06T09:59:59.999999+00:00")) == utc("2026-03-06T10:00+00:00")
    assert next_after(line, utc("2026-03-06T10:00+00:00")) == utc("2026-03-06T11:00+00:00")
    assert next_after(line, utc("2026-03-06T10:00:00.000001+00:00")) == utc("2026-03-06T11:00+00:00")


def test_a_moment_of_any_zone_comes_out_in_utc() -> None:
    due = next_after(parse_cron("TZ=America/New_York 0 9 * * *"), datetime(2026, 7, 1, tzinfo=ZoneInfo("Asia/Tokyo")))
    assert due == datetime(2026, 7, 1, 13, tzinfo=UTC)
    assert due.tzinfo is UTC


def test_a_moment_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        next_after(parse_cron("* * * * *"), datetime(2026, 1, 1))  # noqa: DTZ001  # naive on purpose


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("* * * * *", ",".join(map(str, range(60))) + " " + ",".join(map(str, range(24))) + " * 1-12 *"),
        ("5 4 * * sun", "5 4 * 1-12 0"),
        ("5 4 * * 7", "5 4 * 1-12 0"),
        ("5 4 * * 5-7", "5 4 * 1-12 0,5,6"),
        ("5 4 * * 5/1", "5 4 * 1-12 5,6"),
        ("5 4 ? * ?", "5 4 * 1-12 *"),
        ("5 4 1-31 * 0-6", "5 4 * 1-12 *"),
        ("0,30 0-4/2 */10 JAN,mar-May Mon-FRI/2", "0,30 0,2,4 1,11,21,31 1,3,4,5 1,3,5"),
        ("50/5 0 1 1 *", "50,55 0 1 1 *"),
        ("  5\t4  *  *  *  ", "5 4 * 1-12 *"),
        ("CRON_TZ=Europe/Paris 5 4 * * *", "5 4 * 1-12 *"),
    ],
)
def test_fields_take_numbers_names_ranges_lists_and_steps(text: str, expression: str) -> None:
    line = parse_cron(text)
    assert line.expression == expression.replace("1-12", ",".join(map(str, range(1, 13))))
    assert line.text == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 fields instead of 5"),
        ("* * * *", "4 fields instead of 5"),
        ("0 * * * * *", "6 fields instead of 5"),
        ("@daily", "descriptor"),
        ("TZ=Europe/Paris @hourly", "descriptor"),
        ("60 * * * *", "minute field '60'"),
        ("* 24 * * *", "hour field '24'"),
        ("* * 0 * *", "day of month field '0'"),
        ("* * * 13 *", "month field '13'"),
        ("* * * * 8", "day of week field '8'"),
        ("* * * foo *", "'foo' is not a number"),
        ("* * * * mon-foo", "'foo' is not a number"),
        ("30-10 * * * *", "runs backwards"),
        ("* * * * fri-mon", "runs backwards; write 'fri,sat,sun,mon'"),
        ("* * * * fri-sun", "runs backwards; write 'fri,sat,sun'"),
        ("0 22-2 * * *", "runs backwards; write '22-23,0-2'"),
        ("*/0 * * * *", "step 0"),
        ("*/99 * * * *", "step 99"),
        ("*-5 * * * *", "cannot start a range"),
        ("1,,2 * * * *", "not a number, a range or a step"),
        ("-5 * * * *", "not a number, a range or a step"),
        ("* * L * *", "'l' is not a number"),
        ("* * * * 1#2", "not a number, a range or a step"),
        ("H * * * *", "'h' is not a number"),
        ("? * * * *", "not a number, a range or a step"),
        ("٣ * * * *", "not a number, a range or a step"),
        ("0 0 30 2 *", "never runs"),
        ("0 0 31 2,4,6,9,11 *", "never runs"),
        ("TZ= * * * * *", "unknown time zone ''"),
        ("TZ=Europe/Paris", "names no zone"),
        ("TZ=Europe/Nowhere * * * * *", "unknown time zone 'Europe/Nowhere'"),
        ("TZ=Europe * * * * *", "unknown time zone 'Europe'"),
        ("TZ=../../etc/passwd * * * * *", "unknown time zone"),
        ("TZ=localtime * * * * *", "unknown time zone"),
        ("0 0 * * *" + " " * 250, "limit is 255"),
    ],
)
def test_a_wrong_line_is_refused_with_the_field_and_an_example(text: str, said: str) -> None:
    begin = time.thread_time()
    with pytest.raises(ValueError, match="cron line") as caught:
        parse_cron(text)
    assert said in str(caught.value)
    assert time.thread_time() - begin < 1


def test_both_days_restricted_mean_either() -> None:
    assert local_ticks("0 0 13 * fri", "2026-02-01T00:00+00:00", 5) == [
        "06 00:00 +0000", "13 00:00 +0000", "20 00:00 +0000", "27 00:00 +0000", "06 00:00 +0000",
    ]  # fmt: skip


def test_the_29th_of_february_waits_for_a_leap_year_even_over_a_century() -> None:
    line = parse_cron("0 0 29 2 *")
    assert next_after(line, utc("2024-02-29T00:00+00:00")) == utc("2028-02-29T00:00+00:00")
    assert next_after(line, utc("2096-03-01T00:00+00:00")) == utc("2104-02-29T00:00+00:00")


PARIS = "TZ=Europe/Paris "
NEW_YORK = "TZ=America/New_York "
LORD_HOWE = "TZ=Australia/Lord_Howe "
SAO_PAULO = "TZ=America/Sao_Paulo "
APIA = "TZ=Pacific/Apia "


@pytest.mark.parametrize(
    ("text", "start", "ticks"),
    [
        # Paris jumps from 02:00 to 03:00 on 30 March 2025.
        (PARIS + "30 2 * * *", "2025-03-29T12:00+01:00", ["30 03:00 +0200", "31 02:30 +0200"]),
        (PARIS + "0 2 * * *", "2025-03-29T12:00+01:00", ["30 03:00 +0200", "31 02:00 +0200"]),
        (PARIS + "*/10 2 * * *", "2025-03-29T12:00+01:00", ["30 03:00 +0200", "31 02:00 +0200"]),
        (PARIS + "0 2,3 * * *", "2025-03-29T12:00+01:00", ["30 03:00 +0200", "31 02:00 +0200"]),
        (PARIS + "0 3 * * *", "2025-03-29T12:00+01:00", ["30 03:00 +0200", "31 03:00 +0200"]),
        # New York jumps from 02:00 to 03:00 on 9 March 2025.
        (NEW_YORK + "15 2 * * sun", "2025-03-08T12:00-05:00", ["09 03:00 -0400", "16 02:15 -0400"]),
        # Lord Howe jumps from 02:00 to 02:30 on 5 October 2025.
        (LORD_HOWE + "15 2 * * *", "2025-10-04T12:00+10:30", ["05 02:30 +1100", "06 02:15 +1100"]),
        (LORD_HOWE + "15,45 2 * * *", "2025-10-04T12:00+10:30", ["05 02:30 +1100", "05 02:45 +1100"]),
        # São Paulo jumped from midnight to 01:00 on 4 November 2018.
        (SAO_PAULO + "0 0 * * *", "2018-11-03T12:00-03:00", ["04 01:00 -0200", "05 00:00 -0200"]),
        (SAO_PAULO + "59 23 * * *", "2018-11-03T12:00-03:00", ["03 23:59 -0300", "04 23:59 -0200"]),
        # Apia left out the whole of 30 December 2011.
        (APIA + "0 12 * * *", "2011-12-29T13:00-10:00", ["31 00:00 +1400", "31 12:00 +1400"]),
    ],
)
def test_a_local_time_that_is_jumped_over_runs_once_right_after_the_jump(
    text: str, start: str, ticks: list[str]
) -> None:
    assert local_ticks(text, start, len(ticks)) == ticks


@pytest.mark.parametrize(
    ("text", "start", "ticks"),
    [
        # Paris goes back from 03:00 to 02:00 on 26 October 2025.
        (PARIS + "30 2 * * *", "2025-10-25T12:00+02:00", ["26 02:30 +0200", "27 02:30 +0100"]),
        (PARIS + "30 2 * * *", "2025-10-26T02:30+02:00", ["27 02:30 +0100"]),
        (PARIS + "30 2 * * *", "2025-10-26T02:15+01:00", ["27 02:30 +0100"]),
        (PARIS + "0 2 * * *", "2025-10-26T02:00+02:00", ["27 02:00 +0100"]),
        (PARIS + "0 3 * * *", "2025-10-26T02:15+01:00", ["26 03:00 +0100"]),
        (PARIS + "0,20,40 2 * * *", "2025-10-26T00:00+02:00",
         ["26 02:00 +0200", "26 02:20 +0200", "26 02:40 +0200", "27 02:00 +0100"]),
        # New York goes back from 02:00 to 01:00 on 2 November 2025.
        (NEW_YORK + "30 1 * * *", "2025-11-01T12:00-04:00", ["02 01:30 -0400", "03 01:30 -0500"]),
        # Lord Howe goes back from 02:00 to 01:30 on 6 April 2025.
        (LORD_HOWE + "45 1 * * *", "2025-04-05T12:00+11:00", ["06 01:45 +1100", "07 01:45 +1030"]),
        # São Paulo went back from midnight to 23:00 on 17 February 2018.
        (SAO_PAULO + "30 23 * * *", "2018-02-17T12:00-02:00", ["17 23:30 -0200", "18 23:30 -0300"]),
    ],
)  # fmt: skip
def test_a_local_time_that_occurs_twice_runs_once_at_the_first(text: str, start: str, ticks: list[str]) -> None:
    assert local_ticks(text, start, len(ticks)) == ticks


@pytest.mark.parametrize(
    ("text", "start", "ticks"),
    [
        (PARIS + "0 * * * *", "2025-03-30T00:30+01:00", ["30 01:00 +0100", "30 03:00 +0200", "30 04:00 +0200"]),
        (PARIS + "*/30 * * * *", "2025-10-26T02:15+02:00",
         ["26 02:30 +0200", "26 02:00 +0100", "26 02:30 +0100", "26 03:00 +0100"]),
        (PARIS + "30 0-23 * * *", "2025-10-26T02:00+02:00", ["26 02:30 +0200", "26 02:30 +0100", "26 03:30 +0100"]),
        (PARIS + "0 */2 * * *", "2025-10-26T00:30+02:00", ["26 02:00 +0200", "26 02:00 +0100", "26 04:00 +0100"]),
        (PARIS + "0 */2 * * *", "2025-03-30T00:00+01:00", ["30 04:00 +0200", "30 06:00 +0200"]),
        (NEW_YORK + "30 * * * *", "2025-11-02T01:00-04:00", ["02 01:30 -0400", "02 01:30 -0500", "02 02:30 -0500"]),
        (LORD_HOWE + "*/15 * * * *", "2025-04-06T01:20+11:00",
         ["06 01:30 +1100", "06 01:45 +1100", "06 01:30 +1030", "06 01:45 +1030", "06 02:00 +1030"]),
        (LORD_HOWE + "*/15 * * * *", "2025-10-05T01:40+10:30", ["05 01:45 +1030", "05 02:30 +1100", "05 02:45 +1100"]),
        (SAO_PAULO + "0 * * * *", "2018-11-03T22:30-03:00", ["03 23:00 -0300", "04 01:00 -0200", "04 02:00 -0200"]),
        (SAO_PAULO + "0 * * * *", "2018-02-17T22:30-02:00", ["17 23:00 -0200", "17 23:00 -0300", "18 00:00 -0300"]),
        (APIA + "0 * * * *", "2011-12-29T22:30-10:00", ["29 23:00 -1000", "31 00:00 +1400", "31 01:00 +1400"]),
    ],
)  # fmt: skip
def test_a_line_for_every_hour_follows_elapsed_time(text: str, start: str, ticks: list[str]) -> None:
    assert local_ticks(text, start, len(ticks)) == ticks


def test_every_quarter_of_an_hour_is_a_quarter_of_an_hour_apart_all_year() -> None:
    line = parse_cron(PARIS + "*/15 * * * *")
    for change in ("2025-03-30T00:00+00:00", "2025-10-26T00:00+00:00"):
        ticks = ticks_between(line, utc(change), utc(change) + timedelta(hours=6), 100)
        assert len(ticks) == 24
        assert {after - before for before, after in pairwise(ticks)} == {timedelta(minutes=15)}


def expected_ticks(line: CronLine, start: datetime, end: datetime) -> list[datetime]:
    """The laws again, minute by minute: slow, and without any search for changes of the clocks."""
    minutes, hours, days, months, weekdays = (
        None if word == "*" else {int(number) for number in word.split(",")} for word in line.expression.split()
    )

    def fits(wall: datetime) -> bool:
        by_day = days is None or wall.day in days
        by_weekday = weekdays is None or wall.isoweekday() % 7 in weekdays
        day = (by_day or by_weekday) if days is not None and weekdays is not None else by_day and by_weekday
        return (
            (minutes is None or wall.minute in minutes)
            and (hours is None or wall.hour in hours)
            and (months is None or wall.month in months)
            and day
        )

    zone = ZoneInfo(line.zone)
    found: list[datetime] = []
    moment = start - timedelta(hours=30)
    latest = moment.astimezone(zone).replace(tzinfo=None)
    while (moment := moment + MINUTE) <= end:
        wall = moment.astimezone(zone).replace(tzinfo=None)
        if line.every_hour:
            due = fits(wall)
        else:
            due = False
            while latest < wall:  # every local time once, those jumped over included
                latest += MINUTE
                due = due or fits(latest)
        if due and moment > start:
            found.append(moment)
    return found


CHANGES = [
    ("Europe/Paris", "2025-03-30T01:00"), ("Europe/Paris", "2025-10-26T01:00"),
    ("America/New_York", "2025-03-09T07:00"), ("America/New_York", "2025-11-02T06:00"),
    ("Australia/Lord_Howe", "2025-04-05T15:00"), ("Australia/Lord_Howe", "2025-10-04T15:30"),
    ("America/Sao_Paulo", "2018-02-18T02:00"), ("America/Sao_Paulo", "2018-11-04T03:00"),
    ("Pacific/Apia", "2011-12-30T10:00"), ("Africa/Casablanca", "2026-02-15T02:00"),
    ("America/Caracas", "2016-05-01T07:00"), ("Asia/Pyongyang", "2015-08-14T15:00"), ("UTC", "2025-01-01T00:00"),
]  # fmt: skip
minute_fields = st.sampled_from(["*", "*/7", "0", "30", "0,15,45", "59", "*/30", "10-40/10"])
hour_fields = st.sampled_from(["*", "*/2", "*/3", "0", "1", "2", "3", "23", "0-3", "1,2", "22-23", "0-23"])
day_fields = st.sampled_from(["* * *", "* * *", "* * sun", "26-31 * *", "1,30 * mon", "* 3,11 *", "4 * sat"])


@settings(max_examples=80, deadline=None)
@given(
    change=st.sampled_from(CHANGES),
    fields=st.tuples(minute_fields, hour_fields, day_fields).map(" ".join),
    before_minutes=st.integers(-180, 600),
)
@example(change=CHANGES[1], fields="30 2 * * *", before_minutes=-20)
@example(change=CHANGES[8], fields="0 12 * * *", before_minutes=120)
def test_around_any_change_of_the_clocks_the_laws_hold(
    change: tuple[str, str], fields: str, before_minutes: int
) -> None:
    zone, moment = change
    line = parse_cron(f"TZ={zone} {fields}")
    start = datetime.fromisoformat(moment).replace(tzinfo=UTC) - before_minutes * MINUTE
    end = start + timedelta(hours=12)
    assert list(ticks_between(line, start, end, 1_000)) == expected_ticks(line, start, end)


def test_ticks_end_at_their_limit_and_include_the_end() -> None:
    line = parse_cron("0 * * * *")
    start, end = utc("2026-01-01T00:00+00:00"), utc("2026-01-01T03:00+00:00")
    assert ticks_between(line, start, end, 10) == tuple(utc(f"2026-01-01T0{hour}:00+00:00") for hour in (1, 2, 3))
    assert len(ticks_between(line, start, end, 2)) == 2
    assert ticks_between(line, start, end, 0) == ()
    assert ticks_between(line, end, start, 5) == ()


def test_a_line_missed_for_a_year_is_caught_up_once_and_at_once() -> None:
    line = parse_cron("* * * * *")
    armed_for, now = utc("2025-01-01T00:00+00:00"), utc("2026-01-01T12:34:56+00:00")
    begin = time.thread_time()
    assert latest_due(line, armed_for, now) == utc("2026-01-01T12:34+00:00")
    assert time.thread_time() - begin < 2


def test_a_line_is_not_due_before_it_is_armed() -> None:
    line = parse_cron("0 * * * *")
    armed_for = utc("2026-01-01T10:00+00:00")
    assert latest_due(line, armed_for, armed_for - timedelta(microseconds=1)) is None
    assert latest_due(line, armed_for, armed_for) == armed_for
    assert latest_due(line, armed_for, armed_for + timedelta(minutes=59, seconds=59)) == armed_for
    assert latest_due(line, armed_for, armed_for + timedelta(hours=1)) == armed_for + timedelta(hours=1)


def test_an_armed_moment_that_the_line_no_longer_names_still_runs() -> None:
    armed_for = utc("2026-01-01T10:30+00:00")
    assert latest_due(parse_cron("0 12 * * *"), armed_for, armed_for + timedelta(minutes=5)) == armed_for


@settings(max_examples=60, deadline=None)
@given(
    change=st.sampled_from(CHANGES),
    fields=st.tuples(minute_fields, hour_fields, st.just("* * *")).map(" ".join),
    after_minutes=st.integers(0, 2_000),
    seconds=st.integers(0, 59),
)
def test_the_latest_tick_is_the_last_of_all(
    change: tuple[str, str], fields: str, after_minutes: int, seconds: int
) -> None:
    zone, moment = change
    line = parse_cron(f"TZ={zone} {fields}")
    start = datetime.fromisoformat(moment).replace(tzinfo=UTC) - timedelta(hours=24)
    armed_for = next_after(line, start)
    now = armed_for + timedelta(minutes=after_minutes, seconds=seconds)
    assert latest_due(line, armed_for, now) == (armed_for, *ticks_between(line, armed_for, now, 5_000))[-1]


def test_jitter_is_the_same_for_the_same_function_and_line() -> None:
    jitter = timedelta(minutes=5)
    assert jitter_offset("app-report", "0 9 * * *", jitter) == jitter_offset("app-report", "0 9 * * *", jitter)
    assert jitter_offset("app-report", "0 9 * * *", jitter) != jitter_offset("app-other", "0 9 * * *", jitter)
    assert jitter_offset("app-report", "0 9 * * *", jitter) != jitter_offset("app-report", "1 9 * * *", jitter)


@given(st.text(max_size=20), st.integers(1_000, 300_000))
def test_jitter_stays_between_one_second_and_its_bound(function_id: str, milliseconds: int) -> None:
    jitter = timedelta(milliseconds=milliseconds)
    offset = jitter_offset(function_id, "* * * * *", jitter)
    assert timedelta(seconds=1) <= offset
    assert offset < jitter or jitter == offset == timedelta(seconds=1)


def test_jitter_spreads_functions_evenly() -> None:
    offsets = [jitter_offset(f"app-{number}", "0 0 * * *", timedelta(seconds=11)) for number in range(1_000)]
    buckets = [sum(int(offset.total_seconds()) == second for offset in offsets) for second in range(1, 11)]
    assert min(buckets) > 50


@pytest.mark.parametrize("seconds", [0, 0.999, -5, 300.001])
def test_jitter_out_of_bounds_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="function 'app-report' is out of bounds"):
        jitter_offset("app-report", "* * * * *", timedelta(seconds=seconds))


def test_no_zone_changes_its_offset_twice_within_two_days() -> None:
    """What the search for a change relies on, for the zones tested here, over half a century."""
    for zone in {name for name, _ in CHANGES}:
        day = datetime(1980, 1, 1, 12, tzinfo=UTC)
        offsets = [(day + timedelta(hours=12 * half)).astimezone(ZoneInfo(zone)).utcoffset() for half in range(36_500)]
        changes = [index for index, (one, other) in enumerate(pairwise(offsets)) if one != other]
        assert all(after - before > 4 for before, after in pairwise(changes)), zone


def test_the_exports_are_sorted_and_real() -> None:
    assert list(module.__all__) == sorted(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)
