"""The stack imports nothing of the engine or its handlers; here both sides are held to the same words."""

from __future__ import annotations

import importlib
import inspect

from milepost_console.stack import parts
from milepost_engine.adapters.aws import dynamodb_schema
from milepost_handlers import batch, metrics, wiring
from milepost_infra import names, queues


def constants(holder: type) -> set[str]:
    return {value for name, value in vars(holder).items() if name.isupper()}


def test_the_table_speaks_the_engines_words():
    assert names.TTL_ATTRIBUTE == dynamodb_schema.TTL_ATTRIBUTE


def test_every_handler_is_there_and_takes_an_event_and_a_context():
    for handler in names.Handler:
        module, _, function = handler.value.rpartition(".")
        found = getattr(importlib.import_module(module), function)
        assert list(inspect.signature(found).parameters) == ["event", "context"]


def test_every_variable_that_the_handlers_read_is_one_that_the_stack_knows():
    assert constants(wiring.Variable) <= {variable.value for variable in names.Variable}


def test_metrics_are_emitted_under_the_names_that_dashboard_and_alarms_read():
    assert constants(metrics.MetricName) == {metric.value for metric in names.MetricName}


def test_the_handlers_know_how_often_the_queues_deliver_a_message():
    assert batch.DELIVERIES == queues.DELIVERIES


def test_the_command_line_reads_the_outputs_that_the_stack_writes():
    assert {output.value for output in parts.Output} <= {output.value for output in names.Output}
