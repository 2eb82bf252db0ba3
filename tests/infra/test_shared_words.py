"""The stack imports nothing of the engine; here both sides are held to the same words."""

from __future__ import annotations

import importlib
import importlib.util

from milepost_engine import ports
from milepost_engine.adapters import dynamodb_schema
from milepost_handlers import telling, wiring
from milepost_infra import names


def test_the_table_speaks_the_engines_words():
    assert names.LISTED_ATTRIBUTES == ports.LISTED_ATTRIBUTES
    assert names.LISTING_INDEX == dynamodb_schema.LISTING_INDEX
    assert names.TTL_ATTRIBUTE == dynamodb_schema.TTL_ATTRIBUTE


def test_the_handlers_speak_of_metrics_and_variables_by_the_same_names():
    told = {value for name, value in vars(telling.MetricName).items() if name.isupper()}
    assert told == {metric.value for metric in names.MetricName}
    read = {value for name, value in vars(wiring.Variable).items() if name.isupper()}
    assert read <= {variable.value for variable in names.Variable}


def test_every_entry_point_is_a_function_of_the_handlers():
    for entry in set(names.Handler) - {names.Handler.API}:
        module, _, name = entry.value.rpartition(".")
        assert importlib.util.find_spec(module) is not None, entry
        assert callable(getattr(importlib.import_module(module), name))
