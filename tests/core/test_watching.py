"""When a run is called overdue: one whose app reports back itself has its timeout, and the time to begin, besides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from milepost_engine.core.run import Run, RunStatus
from milepost_engine.runs.sweeper import LATEST_START, WATCH_GRACE, Found, check, next_check

BEGUN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
WAITED_FOR: dict[str, object] = {"kind": "lambda", "address": "arn", "timeout": 60.0}
REPORTS = {**WAITED_FOR, "timeout": 900.0, "reports": True}
LONG = WATCH_GRACE + LATEST_START + timedelta(minutes=15)


def a_run(target: dict[str, object]) -> Run:
    return Run("R1", "shop", "shop-f", RunStatus.RUNNING, ("E1",), "go", BEGUN, target=target)


@pytest.mark.parametrize(("target", "grace"), [({}, WATCH_GRACE), (WAITED_FOR, WATCH_GRACE), (REPORTS, LONG)])
def test_a_quiet_run_is_overdue_when_nothing_can_be_under_way(target: dict[str, object], grace: timedelta):
    run = a_run(target)
    assert check(run, BEGUN + grace) is Found.WELL
    assert check(run, BEGUN + grace + SECOND) is Found.OVERDUE


def test_a_run_of_a_long_function_is_checked_as_soon_as_it_is_overdue():
    run = a_run(REPORTS)
    assert next_check(run, BEGUN + WATCH_GRACE) == BEGUN + 2 * WATCH_GRACE
    assert next_check(run, BEGUN + 2 * WATCH_GRACE) == BEGUN + LONG + SECOND
    assert check(run, BEGUN + LONG + SECOND) is Found.OVERDUE
