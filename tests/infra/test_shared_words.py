"""The stack imports nothing of the engine; here both sides are held to the same words."""

from __future__ import annotations

from milepost_engine import ports
from milepost_engine.adapters import dynamodb_schema
from milepost_infra import names


def test_the_table_speaks_the_engines_words():
    assert names.LISTED_ATTRIBUTES == ports.LISTED_ATTRIBUTES
    assert names.LISTING_INDEX == dynamodb_schema.LISTING_INDEX
    assert names.TTL_ATTRIBUTE == dynamodb_schema.TTL_ATTRIBUTE
