"""Conditions of waits and cancellations: values of the trigger event put in, and what may serve as an index key."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from milepost_engine.cel import (
    Bound,
    ExpressionError,
    Scalar,
    bind,
    compile_expression,
    equality_keys,
    index_hash,
    lookup,
    matches,
    restore,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EVENT: dict[str, object] = {
    "name": "app/order.placed",
    "ts": 1772366400000,
    "data": {
        "id": 7, "price": 9.5, "user": "u-1", "ok": True, "nothing": None, "big": 9007199254740993,
        "quote": 'say "it\'s"', "lines": "a\nb", "tags": ["a", 1], "map": {"first name": "Ada", "n": -1},
    },
}  # fmt: skip


def bound_to(text: str) -> Bound:
    return bind(compile_expression(text), EVENT)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("event.data.id == async.data.id", "async.data.id == 7.0"),
        ("async.data.id == event.data.id", "async.data.id == 7.0"),
        ("event.data.user != async.data.user", 'async.data.user != "u-1"'),
        ("event.data.missing == async.data.id", "async.data.id == null"),
        ("event.data.nothing == async.data.id", "async.data.id == null"),
        ("event.data.id == async.data.id && async.data.val <= event.data.price",
         "async.data.id == 7.0 && async.data.val <= 9.5"),
        ("event.data.missing == 1", "null == 1"),
        ("async.data.big == event.data.big", "async.data.big == 9007199254740993"),
        ("async.data.q == event.data.quote", "async.data.q == \"say \" + '\"' + \"it's\" + '\"'"),
        ("event['data']['user'] == async['data']['the user']", 'async.data["the user"] == "u-1"'),
        ("async.data.tags == event.data.tags", 'async.data.tags == ["a", 1.0]'),
        ("async.data == event.data.map", 'async.data == {"first name": "Ada", "n": -1.0}'),
        ("event.data.tags.exists(x, x == async.data.tag)", '["a", 1.0].exists(x, x == async.data.tag)'),
        ("async.data.tags.exists(event, event == 'a')", 'async.data.tags.exists(event, event == "a")'),
        ("has(event.data.id) && has(async.data.id)", "has(async.data.id)"),
        ("event.data.id != null && event.data.id == async.data.id", "async.data.id == 7.0"),
        ("(event.data.id != null && event.data.id == async.data.id) && (async.x == 1)",
         "async.data.id == 7.0 && async.x == 1"),
        ("event.data.no != null && event.data.no == async.data.no", "null != null && async.data.no == null"),
        ("async.data.x && true", "async.data.x && true"),
        ("has(event.data.no) || async.data.x", "false || async.data.x"),
        ("event.data[async.data.field] == 7", '{"id": 7.0, "price": 9.5}[async.data.field] == 7'),
        ("async.data.n - (event.data.id - 1) * 2 > -event.data.id", "async.data.n - (7.0 - 1) * 2 > -(7.0)"),
        ("(async.a || async.b) && !(async.c == 1)", "(async.a || async.b) && !(async.c == 1)"),
        ("async.a ? event.data.id : (async.b ? 1 : 2)", "async.a ? 7.0 : async.b ? 1 : 2"),
        ("date(async.data.at)   <  now_plus('1h') // soon", 'date(async.data.at) < now_plus("1h")'),
        ("json_parse(async.data.j).a[0].b == 1", "json_parse(async.data.j).a[0].b == 1"),
        ("(async.x in event.data.tags) == true", 'async.x in ["a", 1.0] == true'),
        ("async.x == (async.y == 1)", "async.x == (async.y == 1)"),
        ("true", "true"),
    ],
)  # fmt: skip
def test_a_condition_is_shown_with_the_values_of_the_trigger_event(text: str, shown: str) -> None:
    event = EVENT
    if "event.data[" in text:
        event = {"data": {"id": 7, "price": 9.5}}
    bound = bind(compile_expression(text), event)
    assert bound.text == shown
    assert restore(bound.text).text == shown


def test_a_bound_condition_needs_only_the_incoming_event() -> None:
    bound = bound_to("event.data.id == async.data.id && async.data.q == event.data.quote")
    for condition in (bound, restore(bound.text)):
        incoming = {"async": {"data": {"id": 7, "q": 'say "it\'s"'}}}
        assert matches(condition.expression, incoming, NOW)
        assert not matches(condition.expression, {"async": {"data": {"id": 8, "q": 'say "it\'s"'}}}, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "event.data.id == 8",
        "false",
        "null",
        "event.data.missing",
        "event.data.user",
        "1 / 0",
        "event.data.id == 8 && async.data.id == 7",
        "async.data.id == 7 && (async.data.x == 1 && event.data.missing)",
        "async.data.id == 7 && has(event.data.missing)",
        "event.data.tags.exists(x, x == 'z')",
    ],
)
def test_a_condition_that_no_event_can_meet_is_known_when_it_is_bound(text: str) -> None:
    assert bound_to(text).never


@pytest.mark.parametrize(
    "text",
    [
        "event.data.id == 7",
        "true",
        "async.data.id == 7",
        "event.data.id == 8 || async.data.id == 7",
        "event.data.id == 7 && async.data.id == 7",
        "now() < date('2020-01-01')",
    ],
)
def test_a_condition_that_some_event_or_moment_may_meet_can_match(text: str) -> None:
    assert not bound_to(text).never


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("event.data.id == async.data.id", (("data.id", 7.0),)),
        ("async.data.user == event.data.user && async.name == 'x'", (("data.user", "u-1"), ("name", "x"))),
        ("(async.data.a == 1 && (true == async.data.b)) && async.data.c > 2", (("data.a", 1), ("data.b", True))),
        ("async['data']['the user'] == 'u'", (('data["the user"]', "u"),)),
        ("async['odd name'].x == 1", (('["odd name"].x', 1),)),
        ("async.data.items[0].sku == 'a'", (("data.items[0].sku", "a"),)),
        ("async.data.key == 'u-' + event.data.id", (("data.key", "u-7"),)),
        ("async.data.q == event.data.quote", (("data.q", 'say "it\'s"'),)),
        ("async.data.plan == (event.data.ok ? 'pro' : 'free')", (("data.plan", "pro"),)),
        ("async.data.a == 1 && async.data.a == true && async.data.a == 1.0", (("data.a", 1), ("data.a", True))),
        ("async.data.id == event.data.missing", ()),
        ("async.data.id == null", ()),
        ("async.data.tags == event.data.tags", ()),
        ("async.data.a == 1 || async.data.b == 2", ()),
        ("!(async.data.a == 1)", ()),
        ("async.data.a != 1", ()),
        ("async.data.a == async.data.b", ()),
        ("async.data[async.data.k] == 1", ()),
        ("async == 1", ()),
        ("other.data.a == 1", ()),
        ("async.data.a == now()", ()),
        ("async.data.at == date('2020-01-01')", ()),
        ("async.data.list.exists(x, x == 1)", ()),
        ("[1].all(async, async.a == 1)", ()),
        ("async.data.a == 1 / 0", ()),
        ("(async.data.a == 1) == true", ()),
    ],
)
def test_equalities_that_must_hold_become_index_keys(text: str, keys: tuple[tuple[str, object], ...]) -> None:
    bound = bound_to(text)
    assert equality_keys(bound) == keys
    assert equality_keys(restore(bound.text)) == keys
    assert equality_keys(bound.expression) == keys


def test_equal_values_share_a_hash_and_others_do_not() -> None:
    assert index_hash("data.id", 7) == index_hash("data.id", 7.0)
    assert index_hash("data.id", 0.0) == index_hash("data.id", -0.0)
    assert index_hash("data.id", 2**60) == index_hash("data.id", float(2**60))
    different: list[Scalar] = [
        7,
        "7",
        8,
        7.5,
        True,
        1,
        False,
        0,
        "true",
        "",
        2**53 + 1,
        float(2**53),
        2**64,
        2**64 + 1,
        10**30,
        1e30,
    ]
    assert len({index_hash("data.id", value) for value in different}) == len(different)
    assert index_hash("data.id", 7) != index_hash("data.ip", 7)
    assert index_hash("a", "b\nc") != index_hash("a\nb", "c")
    assert len(index_hash("data.id", "\ud800")) == 24


def test_a_hash_never_changes_between_releases() -> None:
    assert index_hash("data.id", 7) == "77ab1a45409484f05bee1f81"
    assert index_hash("data.user", "u-1") == "82224a32c4201d0a93924841"


def test_lookup_finds_what_a_key_may_equal() -> None:
    event: dict[str, object] = {"data": {"id": 7, "the user": "u", "items": [{"sku": "a"}], "ok": False, "no": None}}
    assert lookup("data.id", event) == 7
    assert lookup('data["the user"]', event) == "u"
    assert lookup("data.items[0].sku", event) == "a"
    assert lookup("data.ok", event) is False
    for path in ("data.no", "data.items", "data", "data.missing.deeper", "data.items[1].sku", "data.id.x"):
        assert lookup(path, event) is None


def test_lookup_refuses_a_path_that_is_none() -> None:
    with pytest.raises(ExpressionError, match="not the path of an index key"):
        lookup("data.id == 1", {})


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, 7, 7.0, -1, 0.5, 2**53, 2**53 + 1, float(2**53), 10**30, 1e30, -0.0, 10**400]),
    st.sampled_from(["", "1", "true", "null", "it's", 'a "quote"', "\n", "7.0", "é", "'\"", "\ud800"]),
)
values = st.one_of(scalars, st.lists(scalars, max_size=2), st.dictionaries(st.sampled_from("ab"), scalars, max_size=2))
events = st.fixed_dictionaries({}, optional=dict.fromkeys("abc", values)).map(lambda data: {"data": data})
operands = st.sampled_from([
    "event.data.a", "event.data.b", "event.data.a.b", "async.data.a", "async.data.b", "async.data.a.b",
    "async['data']['c']", "async.data.c[0]", "7", "1", "'1'", "true", "null", "0.5",
    "event.data.a + '-' + event.data.b", "async.data.a + 'x'",
    "size(async.data.a)", "-event.data.a", "event.data.c[0]",
])  # fmt: skip
comparisons = st.tuples(operands, st.sampled_from(["==", "==", "==", "!=", "<", ">=", "in"]), operands).map(" ".join)
conditions = st.recursive(
    comparisons | operands,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda two: f"({two[0]}) && {two[1]}"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]} || {two[1]})"),
        inner.map(lambda one: f"!({one})"),
        st.tuples(inner, inner, inner).map(lambda three: f"({three[0]} ? {three[1]} : {three[2]})"),
    ),
    max_leaves=5,
)


@settings(max_examples=500, deadline=None)
@given(conditions, events, events)
@example("event.data.a == async.data.a && async.data.b == event.data.b", {"data": {"a": 7, "b": "'\""}},
         {"data": {"a": 7.0, "b": "'\""}})  # fmt: skip
@example("event.data.a == async.data.a", {"data": {"a": 10**30}}, {"data": {"a": 1e30}})
def test_whatever_matches_is_found_by_each_of_its_keys(
    text: str, trigger: dict[str, object], incoming: dict[str, object]
) -> None:
    bound = bind(compile_expression(text), trigger)
    stored = restore(bound.text)
    matched = matches(bound.expression, {"async": incoming}, NOW)
    assert matches(stored.expression, {"async": incoming}, NOW) is matched
    assert equality_keys(stored) == equality_keys(bound)
    if not matched:
        return
    assert not bound.never
    for path, value in equality_keys(bound):
        found = lookup(path, incoming)
        assert found is not None
        assert index_hash(path, found) == index_hash(path, value)


@settings(max_examples=300, deadline=None)
@given(scalars, scalars)
def test_two_values_share_a_hash_exactly_when_they_are_equal(one: object, other: object) -> None:
    left = lookup("data.a", {"data": {"a": one}})
    right = lookup("data.a", {"data": {"a": other}})
    if left is None or right is None:
        return
    equal = matches(compile_expression("l == r"), {"l": left, "r": right}, NOW)
    assert (index_hash("data.a", left) == index_hash("data.a", right)) is equal
