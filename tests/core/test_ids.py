"""Identifiers sort by time, are derived from what they identify, and never collide by accident."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from milepost_engine.core.ids import derived_ulid, from_ms, is_ulid, seeded_ulid, short_hash, to_ms, ulid, ulid_moment

MS = st.integers(0, 2**48 - 1)
ENTROPY = st.binary(min_size=10, max_size=32)


def test_a_ulid_is_written_as_its_specification_says():
    # The moment of the specification's own example.
    assert ulid(1_469_918_176_385, b"\0" * 10) == "01ARYZ6S41" + "0" * 16
    assert ulid(2**48 - 1, b"\xff" * 10) == "7" + "Z" * 25


@given(MS, ENTROPY)
def test_a_ulid_carries_its_moment(ms, entropy):
    made = ulid(ms, entropy)
    assert is_ulid(made)
    if ms < to_ms(datetime.max.replace(tzinfo=UTC)):
        assert to_ms(ulid_moment(made)) == ms


@given(MS, MS, ENTROPY, ENTROPY)
def test_ulids_sort_by_time(first, second, one, other):
    if first < second:
        assert ulid(first, one) < ulid(second, other)


@given(st.integers(), ENTROPY)
def test_a_moment_out_of_range_is_brought_into_it(ms, entropy):
    assert is_ulid(ulid(ms, entropy))


@given(MS, st.lists(st.text(max_size=8), min_size=1, max_size=3))
def test_a_derived_id_is_the_same_each_time(ms, parts):
    assert derived_ulid(ms, *parts) == derived_ulid(ms, *parts)


def test_parts_do_not_run_into_each_other():
    assert derived_ulid(0, "ab", "c") != derived_ulid(0, "a", "bc")
    assert short_hash("ab", "c") != short_hash("a", "bc")


def test_text_that_utf8_cannot_carry_still_has_an_id():
    assert is_ulid(derived_ulid(0, "\ud800"))
    assert len(short_hash("\ud800")) == 20


@given(MS, st.binary(min_size=10, max_size=10), st.integers(1, 5000), st.integers(1, 5000))
def test_events_of_one_seed_have_ids_of_their_own(ms, seed, one, other):
    assert (seeded_ulid(ms, seed, one) == seeded_ulid(ms, seed, other)) == (one == other)


@given(st.integers(0, to_ms(datetime(9999, 12, 31, tzinfo=UTC))))
def test_milliseconds_and_moments_are_the_same_thing(ms):
    assert to_ms(from_ms(ms)) == ms
