"""What is signed for another SDK is what that SDK makes of it: held to the code that the official Python SDK uses."""

from __future__ import annotations

import json

import jcs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost_engine.codec import dumps
from milepost_engine.runs.canonical_json import canonical

NUMBERS = st.integers(-(10**25), 10**25) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_the_canonical_form_is_the_official_sdks(value: object):
    body = dumps(value)
    assert canonical(body) == jcs.canonicalize(json.loads(body))
    assert canonical(canonical(body)) == canonical(body)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"b": 1.0, "a": "\\u00e9\\n"}', '{"a":"é\\n","b":1}'.encode()),
        (b"[1e21, 1e-7, 0.1, -0.0, 12345678901234567890]", b"[1e+21,1e-7,0.1,0,12345678901234567000]"),
        ('{"\ufb33": 1, "\U0001f600": 2}'.encode(), '{"\U0001f600":2,"\ufb33":1}'.encode()),
    ],
    ids=["order and numbers", "notation", "keys by UTF-16"],
)
def test_examples(body: bytes, wanted: bytes):
    assert canonical(body) == wanted
