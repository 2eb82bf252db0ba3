"""The terminal shows a log line under the run and the step whose code wrote it."""

from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime
from typing import Any

from milepost import App, Context, Event, NonRetriableError
from milepost.testing import Harness
from milepost_console.dev.log_origin import origin_of
from milepost_console.dev.terminal import JsonLines, Lines
from milepost_console.printer import Printer
from milepost_engine.adapters.clock import WoundClock

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class PrintingHandler(logging.Handler):
    """Prints records through the terminal's own lines, as the dev server does."""

    def __init__(self, lines: Lines | JsonLines) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.logged(record.levelname, record.name, self.format(record), origin_of(record))


async def run(lines: Lines | JsonLines) -> str:
    """An app that logs once in a step, and somebody else who logs outside of runs; the run's id."""
    logger = logging.getLogger("terminal.test")
    logger.propagate = False
    logger.addHandler(PrintingHandler(lines))
    app = App("shop", logger=logger)

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context[Any]) -> None:
        await ctx.step.run("charge", logger.warning, "the card is slow")

    try:
        async with Harness(app) as h:
            await h.send("go")
            run_id = str((await h.only_run())["run_id"])
        logger.error("outside of runs")
    finally:
        logger.handlers.clear()
    return run_id


async def test_lines_stand_in_the_columns_of_their_run():
    out = io.StringIO()
    run_id = await run(Lines(Printer(out, width=200), WoundClock(START)))
    inside, outside = out.getvalue().splitlines()
    assert inside.split()[1:4] == ["shop-f", run_id[-6:], "·"]
    assert "charge" in inside
    assert inside.endswith("warning: the card is slow")
    assert outside.endswith("error   terminal.test  outside of runs")


async def test_json_lines_name_the_origin():
    out = io.StringIO()
    run_id = await run(JsonLines(Printer(out, width=200), WoundClock(START)))
    inside, outside = map(json.loads, out.getvalue().splitlines())
    assert (inside["what"], inside["level"], inside["message"]) == ("log", "warning", "the card is slow")
    assert (inside["run_id"], inside["function_id"], inside["step"]) == (run_id, "shop-f", "charge")
    assert (outside["what"], outside["message"], "run_id" in outside) == ("log", "outside of runs", False)


async def test_a_failed_run_ends_with_what_its_code_raised():
    app = App("shop")

    @app.function(id="f", trigger=Event("go"), retries=0)
    async def f(ctx: Context[Any]) -> None:
        raise NonRetriableError("the card has expired")

    async with Harness(app) as h:
        await h.send("go")
        run = await h.engine.runs.load(str((await h.only_run())["run_id"]))
    assert run is not None
    assert run.ended is not None
    plain, as_json = io.StringIO(), io.StringIO()
    Lines(Printer(plain, width=200), WoundClock(START)).recorded(run, run.ended)
    JsonLines(Printer(as_json, width=200), WoundClock(START)).recorded(run, run.ended)
    assert "NonRetriableError: the card has expired" in plain.getvalue()
    assert json.loads(as_json.getvalue())["error"] == "NonRetriableError: the card has expired"
