"""`recall`, the shortcut through history, gives the same value as the long way, or none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from milepost import StepError
from milepost._replay.calls import run_call
from milepost._replay.replay import UNKNOWN, Invocation, Move
from milepost._replay.requests import CallRequest
from milepost.errors import BadIdError, NonDeterminismError, NotSerializableError
from milepost.protocol import DISCOVERY, hash_step_id

NOW = datetime(2026, 3, 2, tzinfo=UTC)


class Parcel(BaseModel):
    kilos: float


def plain() -> int:
    return 1


def typed() -> Parcel:
    return Parcel(kilos=1)


def named() -> list[int]:
    return [1]


MEMOS = st.sampled_from([
    {"data": 1}, {"data": None}, {"data": {"kilos": 2}}, {"data": {"kilos": "?"}}, {"data": [1]},
    {"error": {"name": "E", "message": "m"}}, None, {"name": "event", "data": {}}, {"data": 1, "more": 2},
    {"input": [1]}, "text", [1], 7,
])  # fmt: skip
NAMES = st.sampled_from(["a", "b", "c", "a:1", "b:1"])


def invocation(history: list[tuple[str, Any]], *, live: bool, target: str) -> Invocation:
    uses: dict[str, int] = {}
    memos = {}
    for name, memo in history:
        memos[hash_step_id(name, uses.get(name, 0))] = memo
        uses[name] = uses.get(name, 0) + 1
    call = CallRequest("app-f", "01RUN", 0, 5, target, tuple(memos), memos)
    made = Invocation(call, now=lambda: NOW, warn=lambda _: None)
    if live:
        made.go_live()
    return made


def long_way(made: Invocation, name: str, fn: Callable[..., Any]) -> object:
    """The outcome by way of a step that arrives, or UNKNOWN when something else is to be decided first."""
    try:
        step = made.arrive(run_call(name, fn, (), {}))
    except BadIdError as error:
        return type(error), str(error)
    if not made.follows(step):
        made.abandon(step)
        return UNKNOWN
    try:
        return made.outcome(step)
    except (StepError, NonDeterminismError, NotSerializableError) as error:
        return type(error), str(error)


@given(
    history=st.lists(st.tuples(NAMES, MEMOS), max_size=6),
    asked=st.lists(st.tuples(NAMES, st.sampled_from([plain, typed, named])), max_size=8),
    live=st.booleans(),
    target=st.sampled_from([DISCOVERY, hash_step_id("b", 1)]),
)
def test_the_short_way_agrees_with_the_long_way_and_leaves_no_trace_where_it_does_not_go(
    history: list[tuple[str, Any]],
    asked: list[tuple[str, Callable[..., Any]]],
    live: bool,  # noqa: FBT001 - drawn
    target: str,
):
    short = invocation(history, live=live, target=target)
    long = invocation(history, live=live, target=target)
    if long.answer is not None:
        assert short.recall("a", plain, 0) is UNKNOWN
        return
    for name, fn in asked:
        use = short._main._uses.get(name, 0)
        given = short.recall(name, fn, use)
        if given is not UNKNOWN:
            short._main.use(name)
        expected = long_way(long, name, fn)
        if given is UNKNOWN:
            given = long_way(short, name, fn)
        assert given == expected
        assert short.decide(quiet=False) == long.decide(quiet=False)


def test_history_of_plain_results_takes_the_short_way_up_to_its_last_step():
    made = invocation([("a", {"data": n}) for n in range(4)], live=False, target=DISCOVERY)
    assert [made.recall("a", plain, use) for use in range(4)] == [0, 1, 2, UNKNOWN]


@pytest.mark.parametrize("fn", [None, typed, "text"])
def test_what_needs_more_than_its_plain_value_goes_the_long_way(fn: object):
    made = invocation([("a", {"data": {"kilos": 1}})] * 3, live=False, target=DISCOVERY)
    assert made.recall("a", fn, 0) is UNKNOWN
    assert made.recall("a", plain, 0) == {"kilos": 1}


@pytest.mark.parametrize("name", ["b", "", None, 7, ["a"]])
def test_another_name_than_the_remembered_one_goes_the_long_way(name: object):
    made = invocation([("a", {"data": 1})] * 3, live=False, target=DISCOVERY)
    assert made.recall(name, plain, 0) is UNKNOWN


def test_a_step_that_has_arrived_under_another_name_goes_the_long_way_and_is_refused():
    """The second use of "a" and a step named "a:1" have one id; the first to arrive has it, even when cancelled."""
    made = invocation([("a", {"data": 0}), ("a", {"data": 1}), ("end", {"data": 2})], live=False, target=DISCOVERY)
    made.abandon(made.arrive(run_call("a:1", plain, (), {})))
    assert made.recall("a", plain, 0) == 0
    assert made.recall("a", plain, 1) is UNKNOWN
    with pytest.raises(BadIdError):
        made.arrive(run_call("a", plain, (), {}), 1)


def test_a_cancelled_step_is_neither_run_nor_reported():
    made = invocation([], live=True, target=DISCOVERY)
    cancelled = made.arrive(run_call("cancelled", plain, (), {}))
    other = made.arrive(run_call("other", plain, (), {}))
    made.abandon(cancelled)
    assert made.decide() == (Move.RUN, other)


def test_a_step_that_is_cancelled_after_it_was_chosen_to_run_makes_room_for_the_next():
    made = invocation([], live=True, target=DISCOVERY)
    chosen = made.arrive(run_call("chosen", plain, (), {}))
    assert made.decide() == (Move.RUN, chosen)
    other = made.arrive(run_call("other", plain, (), {}))
    assert made.decide() == (Move.NOTHING, None)
    made.abandon(chosen)
    assert made.decide() == (Move.RUN, other)
