"""Hostile expressions and events end quickly, with an error that says so."""

from __future__ import annotations

import re
import sys
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milepost_engine.cel import (
    ExpressionError,
    bind,
    compile_expression,
    equality_keys,
    evaluate,
    explain,
    restore,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SOON_SECONDS = 2.0
"""Generous for a loaded machine; unhindered, all of these end within 0.2 s."""


def refused(text: str, variables: dict[str, object] | None = None) -> str:
    """The reason why an expression was refused, soon."""
    begin = time.thread_time()
    with pytest.raises(ExpressionError) as caught:
        evaluate(compile_expression(text), variables or {}, now=NOW)
    assert time.thread_time() - begin < SOON_SECONDS
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 1_000 + "1" + ")" * 1_000,
        "[" * 1_000 + "]" * 1_000,
        "!" * 4_000 + "true",
        "-" * 4_000 + "1",
        "a[" * 1_000 + "0" + "]" * 1_000,
        "size(" * 500 + "a" + ")" * 500,
        "a ? " * 500 + "1" + " : 2" * 500,
        "true ? 1 : " * 300 + "2",
        "a" + ".size()" * 500,
        "a" + " == a" * 500,
        "a" + "[a]" * 500,
        "{'a': " * 500 + "1" + "}" * 500,
        "[1].all(x, " * 200 + "true" + ")" * 200,
    ],
    ids=lambda text: text[:12],
)
def test_deep_nesting_is_refused(text: str) -> None:
    assert "nested more than 64 levels" in refused(text)


@pytest.mark.parametrize("text", ["(" * 64 + "1", "a" * 4_097, " " * 1_000_000, "'" * 1_000_001, "[1," * 300_000])
def test_endless_texts_are_refused(text: str) -> None:
    assert refused(text)


def test_too_many_parts_are_refused() -> None:
    assert "more than 2000 parts" in refused("[" + "1," * 2_040 + "1]")


def test_nesting_up_to_the_limit_needs_little_of_the_stack() -> None:
    """The stack of a caller may be deep already; 64 levels must still fit."""
    deep = "(" * 60 + "a || b && c == d + e * (1)" + ")" * 60

    def at_depth(frames: int) -> object:
        return at_depth(frames - 1) if frames else evaluate(compile_expression(deep), {}, now=NOW)

    assert at_depth(sys.getrecursionlimit() // 3) is False


def test_even_without_stack_left_there_is_no_recursion_error() -> None:
    deep = "[" * 60 + "1" + "]" * 60

    def at_depth(frames: int) -> object:
        if frames:
            return at_depth(frames - 1)
        with pytest.raises(ExpressionError, match="nested too deeply"):
            compile_expression(deep)
        return True

    left = 150
    assert at_depth(sys.getrecursionlimit() - left - len(_stack()))


def _stack() -> list[object]:
    frames: list[object] = []
    frame = sys._getframe()
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
    return frames


def test_long_flat_expressions_are_fine() -> None:
    joined = " || ".join(f"event.data.id == {number}" for number in range(150))
    assert evaluate(compile_expression(joined), {"event": {"data": {"id": 149}}}, now=NOW) is True
    assert evaluate(compile_expression(" + ".join(["1"] * 900)), {}, now=NOW) == 900


@pytest.mark.parametrize(
    "text",
    [
        "l.all(a, l.all(b, l.all(c, l.all(d, a == a))))",
        "l.map(a, l.map(b, l.map(c, a)))",
        "l.exists(a, l.exists(b, l.exists(c, a == 'no')))",
        "l.filter(a, l.filter(b, b == a).size() == 0).size() == 0",
        "l.exists(a, 'no' in l)",
        "l.all(a, l == l)",
        "l.all(a, (l + l).size() > 0)",
        "l.all(a, ('' + l).size() > 0)",
        "l.all(a, json_parse(text).x == null)",
        "l.all(a, (text + text).size() > 0)",
        "l.all(a, text == copy)",
        "l.all(a, !text.contains('b'))",
        "l.all(a, lowercase(text) != '')",
        "l.all(a, !text.matches('(x+x+)+y'))",
        "l.all(a, text < copy || text == copy)",
    ],
)
def test_exponential_work_is_cut_off(text: str) -> None:
    variables: dict[str, object] = {"l": [f"item {n}" for n in range(3_000)], "text": "x" * 400_000}
    variables["copy"] = "x" * 200_000 + "x" * 200_000
    assert "more than 100000 steps" in refused(text, variables)


def test_doubling_a_value_is_cut_off() -> None:
    doubled = "['aaaaaaaa']" + ".map(x, [x, x])" * 45
    assert "steps" in refused(doubled)
    assert "steps" in refused(f"{doubled} == {doubled}")
    assert "steps" in refused(f"'' + {doubled}")
    grown = "[event.text]" + ".map(x, x + x)" * 20
    assert "1000000 characters" in refused(grown, {"event": {"text": "x" * 10}})


def test_a_hostile_regex_from_the_event_is_cut_off() -> None:
    variables: dict[str, object] = {"event": {"text": "ab" * 5_000, "pattern": "(a|b|ab)*" * 50 + "c"}}
    outcome = explain(compile_expression("event.text.matches(event.pattern)"), variables, NOW)
    assert not outcome.matched


def test_deeply_nested_events_are_no_danger() -> None:
    deep: list[object] = []
    for _ in range(50_000):
        deep = [deep]
    variables: dict[str, object] = {"event": {"data": deep, "copy": deep[0]}}
    assert "levels deep" in refused("event.data == event.copy", variables)
    assert "levels deep" in refused("'' + event.data", variables)
    assert "levels deep" in refused("event.data", variables)
    assert "steps" in refused("event.data.exists(x, x == 1) || l.all(x, l.all(y, true))", {"l": [1] * 1_000})
    with pytest.raises(ExpressionError, match="levels deep"):
        bind(compile_expression("async.data == event.data"), {"data": deep})


def test_deeply_nested_json_text_is_empty() -> None:
    text = "[" * 100_000 + "]" * 100_000
    assert evaluate(compile_expression("json_parse(event.t).a == null"), {"event": {"t": text}}, now=NOW) is True


def test_a_bound_condition_may_not_become_huge() -> None:
    with pytest.raises(ExpressionError, match="65536"):
        bind(compile_expression("async.data.text == event.data.text"), {"data": {"text": "x" * 70_000}})


def test_huge_numbers_are_no_danger() -> None:
    variables: dict[str, object] = {"event": {"n": 10**400, "digits": "9" * 10_000}}
    assert evaluate(compile_expression("event.n > 1e308 && event.n != null"), variables, now=NOW) is True
    assert evaluate(compile_expression(f"event.n == 1{'0' * 400}"), variables, now=NOW) is True
    assert evaluate(compile_expression("-event.n < event.n"), variables, now=NOW) is True
    for text in ("event.n + 1", "event.n * event.n", "event.n % 7", "1 / event.n", "double(event.n)"):
        assert "too large" in refused(text, variables)
    for text in ("int(event.n)", "int(event.digits)", "timestamp(event.n)", "date(event.n)"):
        assert re.search("cannot read|out of range|not a date", refused(text, variables))
    with pytest.raises(ExpressionError, match="4301 digits"):
        restore(f"async.data.n == {'9' * 4_301}")


words = st.sampled_from(
    ["event", ".data", ".x", "[0]", "['k']", "==", "!=", "<", ">=", "in", "&&", "||", "!", "-", "+", "*", "/", "%", "?",
     ":", "(", ")", "[", "]", "{", "}", ",", "1", "2.5", "'s'", "null", "true", "size(", "has(", ".exists(x,",
     ".map(x,", "x", "async.data", ".contains('a')", "now()", "duration('1h')", "string(", "//",
     "\n", "date(", "event.data.x"],
)  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2) | st.just("x"), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=500, deadline=None)
@given(st.lists(words, max_size=14).map(" ".join), st.dictionaries(st.sampled_from("xk"), json_values))
def test_any_text_and_any_event_give_a_value_or_an_expression_error(text: str, data: dict[str, object]) -> None:
    try:
        expression = compile_expression(text)
        bound = bind(expression, {"data": data})
        assert restore(bound.text).text == bound.text
        assert equality_keys(bound) == equality_keys(restore(bound.text))
        evaluate(expression, {"event": {"data": data}, "async": {"data": data}}, now=NOW)
    except ExpressionError:
        return
