"""Queue messages: each class travels whole, and what cannot be read is refused with a reason."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from datetime import UTC, datetime
from typing import cast

import pytest

from milepost_engine.codec import loads
from milepost_engine.core.inputs import TimerKind
from milepost_engine.core.run import Outcome
from milepost_engine.store.messages import (
    MESSAGE_TYPES,
    CallToken,
    CancelRun,
    ChildEnded,
    CronDue,
    DoJob,
    EventArrived,
    EventsAccepted,
    InvocationReport,
    MoveTimers,
    StartRun,
    StepRefused,
    SweepRuns,
    TimerFired,
    UnreadableMessage,
    WatchRun,
    WorkMessage,
    encode,
    parse,
)

WIRE_NAMES = {
    "run_id": "run", "function_id": "fn", "step_id": "step", "event_id": "event", "child_run_id": "child",
    "child_function_id": "child_fn", "timer": "kind",
}  # fmt: skip
MOMENT = datetime(2026, 3, 1, 12, 0, 0, 5000, tzinfo=UTC)
REPORT = InvocationReport("R1", "a-f", message_id="m", job="s", attempt=1, owner="o", turns=2, started_at=3)
MESSAGES: list[WorkMessage] = [
    StartRun("R1", "a-f", message_id="m", again=True),
    DoJob("R1", "a-f", message_id="m", job="step#0", attempt=2, succeeds="owner"),
    TimerFired("R1", "a-f", timer=TimerKind.STEP, step_id="s"),
    EventArrived("R1", "a-f", step_id="s", event_id="e"),
    ChildEnded("R1", "a-f", step_id="s", child_run_id="R2", child_function_id="a-g"),
    StepRefused("R1", "a-f", step_id="s", error={"name": "Error"}),
    CancelRun("R1", "a-f", outcome=Outcome.API, reason="by hand"),
    WatchRun("R1", "a-f"),
    replace(REPORT, at="step#1", status=206, headers={"x": "y"}, body="[]"),
    CronDue(function_id="a-f", line="* * * * *", at=MOMENT, fire_at=MOMENT),
    EventsAccepted(events=[{"name": "order/created"}]),
    MoveTimers(minute=29_000_000, shard=3),
    SweepRuns(function_id="a-f", first="0", last="7", after="5"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.kind)
def test_a_message_that_travelled_is_the_same(message: WorkMessage) -> None:
    assert parse(loads(encode(message))) == message


def test_every_kind_of_message_is_among_those_tried() -> None:
    assert {type(message) for message in MESSAGES} == set(MESSAGE_TYPES.values())


def test_an_empty_body_and_a_missing_one_are_told_apart() -> None:
    assert parse(loads(encode(replace(REPORT, body_ref="blob")))) == replace(REPORT, body_ref="blob")


@pytest.mark.parametrize(
    ("message", "field_name"),
    [
        pytest.param(message, each.name, id=f"{message.kind}-{each.name}")
        for message in MESSAGES
        for each in fields(message)
        if each.default is MISSING and each.default_factory is MISSING
    ],
)
def test_a_message_that_lacks_a_field_is_refused(message: WorkMessage, field_name: str) -> None:
    body = cast("dict[str, object]", loads(encode(message)))
    key = WIRE_NAMES.get(field_name, field_name)
    reason = "that has no '{key}'" if field_name not in {"run_id", "function_id"} else "does not name its run"
    with pytest.raises(UnreadableMessage, match=reason.format(key=key)):
        parse({name: value for name, value in body.items() if name != key})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([], "not a JSON object"),
        ({}, "of kind None that does not name its run"),
        ({"t": "teleport", "run": "R1", "fn": "a-f"}, "unknown kind 'teleport' for run R1"),
        ({"t": "start", "run": "R1"}, r"does not name its run \(R1\) and function \(none\)"),
        ({"t": "timer", "run": "R1", "fn": "a-f", "kind": "nap"}, "whose 'kind' is 'nap', for run R1"),
        ({"t": "job", "run": "R1", "fn": "a-f", "job": 5}, "whose 'job' is 5"),
        ({"t": "job", "run": "R1", "fn": "a-f"}, "for run R1 that has no 'job'"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(body: object, reason: str) -> None:
    with pytest.raises(UnreadableMessage, match=reason):
        parse(body)


def test_a_token_comes_back_with_the_report() -> None:
    token = CallToken("R1", "a-f", "s", 1, "o", 2, 3)
    assert REPORT.token == token
    assert CallToken.read(token.wire()) == token
