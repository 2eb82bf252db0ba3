"""Events and what they started; functions and their configuration; apps and where they are served."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.console.served import Served, served, until

from .conftest import OpenPage
from .shop import make_app

EVENTS = ".event-row"


@pytest.fixture
def shop() -> Iterator[Served]:
    app, _ = make_app()
    with served(app) as server:
        yield server


def test_events_appear_as_they_arrive_with_what_they_started_and_did_not_start_and_why(
    shop: Served, open_page: OpenPage
):
    page = open_page(f"{shop.url}/events")
    expect(page.get_by_text("No events yet.")).to_be_visible()
    shop.send({"name": "order/created", "data": {"order_id": "1"}})
    row = page.locator(EVENTS)
    expect(row).to_have_count(1)
    expect(row).to_contain_text("store-fulfil")
    row.get_by_role("link").click()
    panel = page.get_by_role("complementary", name="Event")
    expect(panel).to_contain_text("Skipped functions")
    expect(panel).to_contain_text("store-large-only")
    expect(panel).to_contain_text("event.data.cents > 10000")
    shop.send({"name": "nobody/listens", "data": {}})
    page.locator(EVENTS).filter(has_text="nobody/listens").get_by_role("link").click()
    expect(panel).to_contain_text("no function has a trigger for this name")


def test_an_event_is_sent_again_with_its_data(shop: Served, open_page: OpenPage):
    [event_id] = shop.send({"name": "order/created", "data": {"order_id": "again"}})
    shop.ended(1)
    page = open_page(f"{shop.url}/events/{event_id}")
    page.get_by_role("link", name="Send again").click()
    expect(page.get_by_label("Data", exact=True)).to_have_value('{\n  "order_id": "again"\n}')
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator(EVENTS)).to_have_count(2)
    shop.ended(2)


def test_a_function_shows_its_configuration_in_words_is_paused_resumed_and_run_by_hand(
    shop: Served, open_page: OpenPage
):
    page = open_page(f"{shop.url}/functions")
    expect(page.locator("tbody tr")).to_have_count(6)
    page.get_by_role("link", name="store-report").click()
    expect(page.locator(".moments li")).to_have_count(5)
    expect(page.locator(".moments time").first).to_contain_text("08:00:00")
    expect(page.get_by_text("A run that has not started after 8 days is cancelled.")).to_be_visible()
    page.goto(f"{shop.url}/functions/store-fulfil")
    configuration = page.locator("section", has=page.get_by_role("heading", name="Configuration"))
    expect(configuration).to_contain_text("Each step gets up to 2 attempts. The first delay is 1 ms")
    expect(configuration).to_contain_text("Step mode: one step per invocation.")
    expect(configuration).to_contain_text("cancelled by the event order/cancelled")
    limits = page.locator("section", has=page.get_by_role("heading", name="Limits"))
    expect(limits).to_contain_text("A run may stay queued for any length of time.")
    expect(limits).to_contain_text("One call to the app may take up to 15 min")
    expect(limits).to_contain_text("A run has at most 10,000 steps.")
    expect(limits).to_contain_text("Runs and their events are kept for 30 days")
    expect(limits).to_contain_text("concurrency limits (flow control) are not available yet")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("This function is paused.")).to_be_visible()
    shop.send({"name": "order/created", "data": {"order_id": "1"}})
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("This function is paused.")).to_have_count(0)
    assert shop.runs(function="store-fulfil") == []
    page.get_by_role("button", name="Run now").click()
    dialog = page.get_by_role("dialog", name="Run store-fulfil now")
    dialog.get_by_label("Data").fill('{"order_id": "by hand"}')
    dialog.get_by_role("button", name="Start a run").click()
    expect(page.locator(".run-title .badge")).to_have_text("Completed")
    until(lambda: len(shop.runs(function="store-fulfil", status="Completed")) == 1)


def test_a_function_shows_its_backlog_and_what_its_runs_wait_for(shop: Served, open_page: OpenPage):
    page = open_page(f"{shop.url}/functions/store-deliver")
    backlog = page.locator("section", has=page.get_by_role("heading", name="Backlog"))
    expect(backlog).to_contain_text("No live runs: every run has ended.")
    later = int(time.time() * 1000) + 3_600_000
    shop.send({"name": "order/packed", "data": {}}, {"name": "order/packed", "data": {}, "ts": later})
    expect(backlog).to_contain_text("1 queued.")
    expect(backlog).to_contain_text("1 running: 1 waiting for an event.")
    expect(page.locator(".number-card").last).to_contain_text("1 of them queued")
    backlog.get_by_role("link", name="1 queued").click()
    expect(page.locator(".virtual > .run-row")).to_have_count(1)


def test_charts_have_their_numbers_as_a_table_too(shop: Served, open_page: OpenPage):
    shop.send({"name": "order/created", "data": {"order_id": "1"}})
    shop.ended(1)
    page = open_page(f"{shop.url}/functions/store-fulfil")
    expect(page.get_by_role("img", name="Runs per hour over the last 24 hours: 1 ended, 0 failed.")).to_be_visible()
    page.get_by_text("Numbers").first.click()
    expect(page.locator(".chart-numbers").first.locator("tbody tr").last).to_be_visible()
    expect(page.locator(".number-card").first).to_contain_text("100 %")
    expect(page.locator(".number-card").last).to_contain_text("0 of them queued")


def test_apps_show_where_they_are_served_and_link_to_their_functions(shop: Served, open_page: OpenPage):
    page = open_page(f"{shop.url}/apps")
    expect(page.locator(".app")).to_contain_text("By a process of the dev server")
    page.locator(".app").get_by_role("link", name="store-fulfil").click()
    expect(page.locator("h1")).to_have_text("store-fulfil")


def test_a_server_without_an_app_teaches_how_to_write_one(open_page: OpenPage):
    with served() as server:
        page = open_page(f"{server.url}/runs")
        expect(page.get_by_role("heading", name="No apps yet")).to_be_visible()
        page.get_by_role("button", name="Copy first app").click()
        assert "@app.function" in page.evaluate("navigator.clipboard.readText()")
