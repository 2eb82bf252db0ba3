"""Metrics and log lines: few dimensions, one line for a run that went well, no payload ever."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from milepost import App, Context, NonRetriableError, SyncContext

from .conftest import World
from .recorded import envelope

SECRET = "4929-1234-5678-9012"


def shop(failing: int = 0) -> App:
    app = App("shop", retries=0)
    tries: list[int] = []

    @app.function(id="order", trigger="order/placed", retries=1)
    async def order(ctx: Context) -> str:
        await ctx.step.run("charge", charge)
        await ctx.step.sleep("rest", 0)
        return SECRET

    def charge() -> str:
        tries.append(1)
        if len(tries) <= failing:
            raise ConnectionError("the bank is closed")
        return SECRET

    @app.function(id="refund", trigger="order/refused")
    def refund(ctx: SyncContext) -> None:
        raise NonRetriableError("there is nothing to refund")

    return app


class Output:
    """What the Lambdas wrote on stdout, since it was last read."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def read(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Metrics by line, and log lines."""
        lines = [json.loads(line) for line in self._capsys.readouterr().out.splitlines() if line.startswith("{")]
        return [line for line in lines if "_aws" in line], [line for line in lines if "_aws" not in line]


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Output:
    return Output(capsys)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def totals(metrics: list[dict[str, Any]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in metrics:
        for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]:
            found[metric["Name"]] = found.get(metric["Name"], 0) + sum(line[metric["Name"]])
    return found


def test_a_run_is_counted_by_stack_and_by_function_and_by_nothing_else(world: World, output: Output):
    world.serve(shop())
    world.put(envelope("order/placed", {}))
    world.pump()
    metrics, _ = output.read()
    assert {name: value for name, value in totals(metrics).items() if name.startswith("Runs")} == {
        "RunsStarted": 1, "RunsCompleted": 1,
    }  # fmt: skip
    for line in metrics:
        [block] = line["_aws"]["CloudWatchMetrics"]
        assert block["Namespace"] == "Milepost"
        assert [sorted(keys) for keys in block["Dimensions"]] == [["service"], ["function_id", "service"]]
        assert (line["service"], line["function_id"]) == ("shop", "shop-order")


def test_latencies_are_in_milliseconds(world: World, output: Output):
    world.serve(shop())
    world.put(envelope("order/placed", {}))
    world.pump()
    metrics, _ = output.read()
    units = {m["Name"]: m["Unit"] for line in metrics for m in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert (units["FirstStepDelay"], units["StepLatency"]) == ("Milliseconds", "Milliseconds")
    assert 0 < totals(metrics)["FirstStepDelay"] < 60_000


def test_a_run_that_went_well_is_one_line(world: World, lines: pytest.LogCaptureFixture):
    world.serve(shop())
    lines.clear()
    world.put(envelope("order/placed", {}))
    world.pump()
    [line] = [record for record in lines.records if record.name == "shop" or hasattr(record, "run_id")]
    assert (line.getMessage(), line.function_id, line.steps) == ("run completed", "shop-order", 2)  # type: ignore[attr-defined]
    assert line.slowest_step == "charge"  # type: ignore[attr-defined]


def test_a_failed_attempt_says_which_step_and_when_it_is_tried_again(world: World, lines: pytest.LogCaptureFixture):
    world.serve(shop(failing=1))
    world.put(envelope("order/placed", {}))
    world.pump()
    [line] = [record for record in lines.records if record.getMessage() == "attempt failed"]
    assert (line.function_id, line.step, line.attempt) == ("shop-order", "charge", 0)  # type: ignore[attr-defined]
    assert line.error["message"] == "the bank is closed"  # type: ignore[attr-defined]
    assert line.next_at  # type: ignore[attr-defined]


def test_a_failed_run_is_logged_with_its_event_and_its_error(
    world: World, lines: pytest.LogCaptureFixture, output: Output
):
    world.serve(shop())
    world.put(envelope("order/refused", {"card": SECRET}))
    world.pump()
    [line] = [record for record in lines.records if record.getMessage() == "run failed"]
    [run] = world.runs()
    assert (line.levelname, line.run_id, line.event_name) == ("ERROR", run["run_id"], "order/refused")  # type: ignore[attr-defined]
    assert line.event_id == run["event_id"]  # type: ignore[attr-defined]
    assert line.error["message"] == "there is nothing to refund"  # type: ignore[attr-defined]
    assert totals(output.read()[0])["RunsFailed"] == 1


def test_no_payload_is_logged(world: World, capsys: pytest.CaptureFixture[str], lines: pytest.LogCaptureFixture):
    world.serve(shop())
    world.put(envelope("order/placed", {"card": SECRET}), envelope("order/refused", {"card": SECRET}))
    world.pump()
    assert SECRET not in capsys.readouterr().out
    assert not [record for record in lines.records if SECRET in str(vars(record))]


def test_a_skipped_function_is_logged_with_the_reason(world: World, lines: pytest.LogCaptureFixture):
    world.serve(shop())
    world.here.run(world.here.engine.registry.pause("shop-order", paused=True))
    world.put(envelope("order/placed", {}))
    [line] = [record for record in lines.records if record.getMessage() == "functions skipped"]
    assert line.why == {"shop-order": "the function is paused"}  # type: ignore[attr-defined]
