"""How deep a JSON text nests is found from its bytes, whatever its strings contain."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from milepost.protocol import nests_deeper

TRICKY = st.text(alphabet='[]{}"\\,:aé\n', max_size=12)
VALUES = st.recursive(
    st.none() | st.integers() | TRICKY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TRICKY, inner, max_size=4),
    max_leaves=40,
)


def levels_of(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(levels_of, inner), default=0)


@given(VALUES)
def test_a_text_nests_as_deeply_as_its_value(value: Any):
    levels = levels_of(value)
    text = to_json(value)
    assert not nests_deeper(text, levels)
    assert levels == 0 or nests_deeper(text, levels - 1)


@pytest.mark.parametrize(
    "text", [b'"' + b"[" * 300 + b'"', b"[" + b"[]," * 300 + b"[]]", b'["\\\\",' + b"[]," * 99 + b"1]"]
)
def test_many_brackets_are_not_many_levels(text: bytes):
    assert not nests_deeper(text)
