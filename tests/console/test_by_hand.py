"""Functions with a cron line that are started by hand, and the names and versions that people gave."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from milepost import App, Context, Cron, CronTick, Event

from .command import Command
from .served import Served, served

TICKS: list[CronTick | None] = []


def made() -> App:
    app = App("shop", version="2.4")

    @app.function(id="nightly", name="Nightly report", trigger=Cron("0 3 * * *", tz="Europe/Paris"))
    async def nightly(ctx: Context) -> object:
        TICKS.append(ctx.cron)
        return ctx.event.data.get("note")

    @app.function(id="both", triggers=[Event("both/wanted"), Cron("0 4 * * *")])
    async def both(ctx: Context) -> None:
        TICKS.append(ctx.cron)

    @app.function(id="plain", trigger="plain")
    async def plain(ctx: Context) -> None:
        TICKS.append(ctx.cron)

    return app


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served(made()) as running:
        yield running


@pytest.fixture
def cli(server: Served, capsys: pytest.CaptureFixture[str]) -> Command:
    TICKS.clear()
    return Command(server.url, capsys)


def started(server: Served, cli: Command, function_id: str, *more: str) -> str:
    before = len(server.runs(function=function_id))
    run_id = str(cli("functions", "trigger", function_id, "--json", *more).json["run_id"])
    server.ended(before + 1, function=function_id)
    return run_id


def test_a_cron_function_that_is_started_by_hand_gets_a_tick_of_now(server: Served, cli: Command) -> None:
    started(server, cli, "shop-nightly")
    (tick,) = TICKS
    assert tick is not None
    assert tick.cron == "TZ=Europe/Paris 0 3 * * *"
    assert tick.scheduled_at == tick.fired_at
    assert datetime.now(UTC) - tick.fired_at < timedelta(minutes=1)


def test_the_tick_is_due_when_the_caller_says_and_keeps_the_callers_data(server: Served, cli: Command) -> None:
    run_id = started(server, cli, "shop-nightly", "--at", "2030-03-01T03:00:00+01:00", "--data", '{"note": "again"}')
    (tick,) = TICKS
    assert tick is not None
    assert tick.scheduled_at == datetime(2030, 3, 1, 2, tzinfo=UTC)
    assert server.get(f"/api/runs/{run_id}")["output"] == "again"


def test_two_ticks_of_one_moment_are_two_runs(server: Served, cli: Command) -> None:
    first = started(server, cli, "shop-nightly", "--at", "2030-03-01T03:00:00Z")
    second = started(server, cli, "shop-nightly", "--at", "2030-03-01T03:00:00Z")
    assert (first != second, len(TICKS)) == (True, 2)


def test_a_function_with_both_kinds_of_trigger_gets_an_event_if_there_is_data(server: Served, cli: Command) -> None:
    started(server, cli, "shop-both", "--data", '{"a": 1}')
    started(server, cli, "shop-both")
    started(server, cli, "shop-both", "--data", '{"a": 1}', "--at", "2030-03-01T03:00:00Z")
    assert [tick is not None for tick in TICKS] == [False, True, True]


def test_a_function_without_a_cron_line_has_no_ticks(server: Served, cli: Command) -> None:
    refused = cli("functions", "trigger", "shop-plain", "--at", "2030-03-01")
    assert (refused.code, "MP325" in refused.err, "'shop-plain' has no cron line" in refused.err) == (1, True, True)
    started(server, cli, "shop-plain")
    assert TICKS == [None]


def test_the_version_of_the_app_and_the_name_of_the_function_are_shown(server: Served, cli: Command) -> None:
    assert "Nightly report" in cli("functions", "list").out
    assert "2.4" in cli("apps", "list").out
    run_id = started(server, cli, "shop-nightly")
    shown = cli("runs", "show", run_id).out
    assert "shop-nightly  (Nightly report)" in shown
    assert "shop version 2.4" in shown
    assert server.get(f"/api/runs/{run_id}")["app_version"] == "2.4"
    rows = {
        row["function_id"]: (row["own_name"], row["app_version"]) for row in server.get("/api/functions")["functions"]
    }
    assert rows["shop-nightly"] == ("Nightly report", "2.4")
    assert rows["shop-plain"] == ("", "2.4")
