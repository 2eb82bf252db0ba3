"""How long a job waits between two tries."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost_engine.core.retries import DEFAULT_RETRIES, RetryPolicy, clip_retry_after

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(("attempt", "base"), [(0, 15), (1, 30), (4, 300), (9, 7200), (20, 7200)])
def test_without_a_first_delay_the_reference_table_holds_with_up_to_half_a_minute_more(attempt, base):
    for salt in map(str, range(50)):
        assert base * SECOND <= DEFAULT_RETRIES.delay(attempt, salt=salt) <= (base + 30) * SECOND


def test_delays_grow_by_the_factor_up_to_the_cap():
    policy = RetryPolicy(first_seconds=2, factor=3, cap_seconds=50, jitter=0)
    assert [policy.delay(n, salt="") / SECOND for n in range(5)] == [2, 6, 18, 50, 50]


@given(
    st.integers(0, 20),
    st.floats(0.001, 3600),
    st.floats(1, 1000),
    st.floats(0.001, 86_400),
    st.floats(0, 1),
    st.text(max_size=20),
)
def test_jitter_only_ever_shortens_a_delay_and_never_below_its_share(attempt, first, factor, cap, jitter, salt):
    full = RetryPolicy(21, first, factor, cap, 0.0).delay(attempt, salt=salt)
    drawn = RetryPolicy(21, first, factor, cap, jitter).delay(attempt, salt=salt)
    assert full * (1 - jitter) - timedelta(milliseconds=1) <= drawn <= full


@given(st.integers(0, 20), st.text(max_size=20))
def test_the_same_failure_always_waits_the_same(attempt, salt):
    assert DEFAULT_RETRIES.delay(attempt, salt=salt) == DEFAULT_RETRIES.delay(attempt, salt=salt)


def test_runs_that_fail_together_do_not_come_back_together():
    delays = {RetryPolicy(first_seconds=10).delay(0, salt=f"run {n}") for n in range(100)}
    assert len(delays) > 90


@given(st.timedeltas(timedelta(days=-2), timedelta(days=400)))
def test_a_wait_that_user_code_asks_for_stays_between_a_second_and_a_day(wait):
    assert SECOND <= clip_retry_after(wait) <= timedelta(days=1)
