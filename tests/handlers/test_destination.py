"""What Lambda's destination for failures sends is classified like its answers to synchronous calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from milepost_engine.adapters.aws.failure_destination import is_record, read_record
from milepost_engine.ports import ProblemKind
from milepost_engine.runs.reports import failure_body
from milepost_engine.store.messages import CallToken

from .recorded import failure_record

TOKEN = CallToken("R1", "shop-order", "step#0", 1, "O1", 0, 1_772_442_000_000)
EVENT = {"version": "2.0", "body": "{}", "milepost": TOKEN.wire()}

FAILURES: list[tuple[str, Mapping[str, str] | None, str, str]] = [
    ("RetriesExhausted", {"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 900.00 seconds"},
     ProblemKind.TIMEOUT, "give the function a longer timeout"),
    ("RetriesExhausted", {"errorMessage": "2026-03-02T09:00:00.000Z 1 Task timed out after 900.00 seconds"},
     ProblemKind.TIMEOUT, "Task timed out"),
    ("RetriesExhausted", {"errorType": "Runtime.OutOfMemory", "errorMessage": "signal: killed"},
     ProblemKind.CRASHED, "Give it more memory_mb"),
    ("RetriesExhausted", {"errorType": "Runtime.ImportModuleError", "errorMessage": "No module named 'x'"},
     ProblemKind.CRASHED, "could not be imported"),
    ("RetriesExhausted", {"errorType": "Runtime.ExitError", "errorMessage": "exit status 3"},
     ProblemKind.CRASHED, "exit status 3"),
    ("RetriesExhausted", {"errorType": "AwsUnreachable", "errorMessage": "SendMessageBatch: no answer"},
     ProblemKind.CRASHED, "AwsUnreachable: SendMessageBatch"),
    ("RetriesExhausted", None, ProblemKind.CRASHED, "no details"),
    ("EventAgeExceeded", None, ProblemKind.THROTTLED, "Raise the app's or the account's concurrency"),
    ("EventAgeExceeded", {"errorType": "TooManyRequestsException", "errorMessage": "Rate Exceeded"},
     ProblemKind.THROTTLED, "too busy"),
    ("ZeroReservedConcurrency", None, ProblemKind.THROTTLED, "reserved concurrency zero?"),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "error", "kind", "reason"), FAILURES)
def test_each_failure_has_its_kind_and_says_what_to_do(
    condition: str, error: Mapping[str, str] | None, kind: str, reason: str
):
    token, problem = read_record(failure_record(EVENT, condition, error))
    assert token == TOKEN
    assert (problem.kind, reason in problem.detail) == (kind, True), problem.detail


@pytest.mark.parametrize("payload", [None, "text", {"my": "own"}, {"milepost": {"run": "R1"}}, {"milepost": "text"}])
def test_the_failure_of_an_event_of_somebody_else_is_refused(payload: Any):
    with pytest.raises(ValueError, match="does not belong to a call that Milepost made"):
        read_record(failure_record(payload, "RetriesExhausted", {}))


def test_a_record_is_no_message_of_the_engine_and_the_other_way_round():
    record = failure_record(EVENT, "EventAgeExceeded")
    token, problem = read_record(record)
    assert is_record(record)
    assert not is_record(json.loads(failure_body(token, problem)))
