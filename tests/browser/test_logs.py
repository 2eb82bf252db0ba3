"""What the code of a run logs is shown on its page: as it comes from a dev server, when asked for from a stack."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from milepost import App, Context, Event
from milepost_console.dev.run_log import LoggedLine, RunLog
from milepost_console.server.problems import Refused
from milepost_engine.ports import Target
from tests.console.served import Served, served, until

from .conftest import OpenPage

HOSTILE = '<img src=x onerror="window.taken=1"><script>window.taken=1</script>\x1b[31m\u202egnp.exe\nsecond line'


def talking() -> App:
    app = App("talk")

    @app.function(id="order", trigger=Event("order"))
    async def order(ctx: Context[Any]) -> None:
        await ctx.step.run("charge", ctx.logger.warning, ctx.event.data["say"])
        await ctx.step.wait_for_event("paid", "paid", timeout="1h")
        ctx.logger.error("it was paid")

    return app


@pytest.fixture
def server() -> Iterator[Served]:
    with served(talking()) as made:
        yield made


def started(server: Served, say: str) -> str:
    server.send({"name": "order", "data": {"say": say}})
    until(lambda: [run for run in server.runs() if len(server.get(f"/api/runs/{run['run_id']}")["trace"]) == 2])
    return str(server.runs()[0]["run_id"])


def test_new_lines_appear_while_one_reads_and_a_line_leads_to_its_step(server: Served, open_page: OpenPage):
    run_id = started(server, "charging the card")
    page = open_page(f"{server.url}/runs/{run_id}")
    logs = page.get_by_role("region", name="Logs")
    expect(logs.locator(".log-line")).to_have_count(1)
    expect(logs).to_contain_text("kept while the dev server runs")
    logs.get_by_role("button", name="charge").click()
    panel = page.get_by_role("complementary", name="Step charge")
    expect(panel.get_by_role("list", name="Log lines of the step")).to_contain_text("charging the card")
    server.send({"name": "paid"})
    expect(logs.locator(".log-line")).to_have_count(2)
    expect(logs.locator(".log-bad")).to_contain_text("it was paid")


def test_a_hostile_line_is_text_and_runs_nothing(server: Served, open_page: OpenPage):
    page = open_page(f"{server.url}/runs/{started(server, HOSTILE)}")
    line = page.get_by_role("region", name="Logs").locator(".log-text")
    expect(line).to_contain_text("<script>window.taken=1</script>\u241b[31m⟨U+202E⟩gnp.exe")
    expect(line).to_contain_text("second line")
    assert page.evaluate("window.taken") is None
    assert page.locator("#page img, #page script").count() == 0


def test_what_was_dropped_or_was_never_kept_is_said(server: Served, open_page: OpenPage):
    run_id = started(server, "first")
    for number in range(1100):
        record = logging.LogRecord("many", logging.WARNING, __file__, 1, f"line {number}", None, None)
        record.run_id = run_id
        logging.getLogger().handle(record)
    page = open_page(f"{server.url}/runs/{run_id}")
    logs = page.get_by_role("region", name="Logs")
    expect(logs).to_contain_text("101 older lines of this run were dropped.")
    expect(logs.locator(".log-line")).to_have_count(200)
    logs.get_by_role("button", name="Show 800 earlier lines").click()
    expect(logs.locator(".log-line")).to_have_count(1000)
    app = server.code.apps["talk"]
    elsewhere = Target("http", "http://127.0.0.1:9/")
    server.do(server.backend.engine.registry.sync(app.manifest("http://127.0.0.1:9/"), elsewhere))
    page.reload()
    expect(logs).to_contain_text("served at its own address: its logs are kept where it runs.")


class AskedLogs:
    """CloudWatch, as the page knows it."""

    def __init__(self) -> None:
        self.asked = 0
        self.refusal = ""

    async def of(self, run: Any, app: Any) -> RunLog:
        self.asked += 1
        if self.refusal:
            raise Refused(502, "MP333", self.refusal)
        return RunLog("cloudwatch", (LoggedLine(0, run.queued_at, "INFO", "/aws/lambda/x", "from afar", "charge"),), -1)


def test_the_logs_of_a_stack_are_read_when_asked_for_and_a_refusal_says_what_is_missing(open_page: OpenPage):
    logs = AskedLogs()
    with served(talking(), stack="milepost-test", logs=logs) as server:
        run_id = started(server, "x")
        page = open_page(f"{server.url}/runs/{run_id}", errors=True)
        card = page.get_by_role("region", name="Logs")
        expect(card).to_contain_text("takes a few seconds and costs a little")
        assert logs.asked == 0
        logs.refusal = "AWS refused FilterLogEvents (AccessDeniedException: not authorized)."
        card.get_by_role("button", name="Load logs").click()
        expect(card.get_by_role("alert")).to_contain_text("AWS refused FilterLogEvents")
        logs.refusal = ""
        card.get_by_role("button", name="Load logs").click()
        expect(card.locator(".log-line")).to_contain_text("from afar")
        expect(card).to_contain_text("Some lines are not shown here.")
        expect(card.get_by_role("button", name="Reload")).to_be_visible()
        assert logs.asked == 2
