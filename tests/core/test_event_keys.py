"""Which key an expression gives an event, and which events have none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from milepost_engine.cel import compile_expression, event_key

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CART = {"cart": "c7", "user": 7, "zero": 0, "no": False, "nothing": None, "blank": "", "tags": ["a"], "big": 2**64 + 1}


def key_of(text: str) -> object:
    return event_key(compile_expression(text), {"data": CART}, now=NOW)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("event.data.cart", "c7"),
        ("event.data.zero", 0),
        ("event.data.big", 2**64 + 1),
        ("event.data.tags", ["a"]),
        ("[event.data.user, event.data.cart]", [7, "c7"]),
        ("string(event.data.user) + '/' + event.data.cart", "7/c7"),
        ("'' + event.data.cart", "c7"),
        ("event.data.nothing || event.data.cart", "c7"),
        ("'cart-' + (event.data.nothing || 'none')", "cart-none"),
        ("'paid-' + (event.data.zero == 1)", "paid-false"),
        ("has(event.data.missing) ? event.data.missing : event.data.user", 7),
    ],
)
def test_an_event_that_has_everything_has_a_key(text: str, key: object):
    assert key_of(text) == key


@pytest.mark.parametrize("gap", ["nothing", "missing", "missing.deeper", "blank", "no", "tags[1]"])
@pytest.mark.parametrize(
    "written",
    [
        "event.data.{}", "'cart-' + event.data.{}", "event.data.user + '-' + event.data.{} + '-x'",
        "string(event.data.{})", "'x' + lowercase(event.data.{})", "[event.data.user, event.data.{}]",
        "{{'u': event.data.user, 'c': event.data.{}}}", "event.data.{} || event.data.nothing",
        "'x' + (event.data.{} || event.data.nothing)", "event.data.cart == 'c7' && event.data.{}",
        "json_parse('{{}}').{}", "event.data[event.data.{}]",
    ],
)  # fmt: skip
def test_an_event_that_lacks_a_part_of_the_key_has_none(written: str, gap: str):
    assert key_of(written.format(gap)) is None


@pytest.mark.parametrize("text", ["json_parse('null')", "lowercase('')", "event.data.cart == 'x'", "!true"])
def test_a_key_whose_value_is_null_false_or_empty_is_none(text: str):
    assert key_of(text) is None


def test_an_event_whose_key_cannot_be_computed_has_none():
    assert key_of("event.data.user / 0") is None
    assert key_of("event.data.cart * 2") is None
