"""The list of runs: it follows along, is filtered and searched, acts on many runs at once, and obeys keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import expect

from tests.console.served import Served, served, until

from .conftest import PHONE, OpenPage
from .shop import make_app

ROWS = ".virtual > .run-row"


@dataclass(frozen=True)
class Shop:
    server: Served
    broken: set[str]

    def order(self, order_id: str, cents: int = 4200) -> None:
        self.server.send({"name": "order/created", "data": {"order_id": order_id, "cents": cents}})

    def settle(self, count: int) -> None:
        """So many runs, all of them ended."""
        self.server.ended(count)


@pytest.fixture
def shop() -> Iterator[Shop]:
    app, broken = make_app()
    with served(app) as server:
        yield Shop(server, broken)


def test_new_runs_appear_and_change_without_a_reload(shop: Shop, open_page: OpenPage):
    shop.order("1")
    shop.settle(1)
    page = open_page(f"{shop.server.url}/runs")
    expect(page.locator(ROWS)).to_have_count(1)
    shop.broken.add("database")
    shop.order("2")
    expect(page.locator(ROWS)).to_have_count(2)
    expect(page.locator(ROWS).first).to_contain_text("Failed")
    shop.server.send({"name": "order/packed", "data": {"order_id": "3"}})
    expect(page.locator(ROWS).first).to_contain_text("Running")
    expect(page.locator(ROWS).first).to_contain_text("store-deliver")


def test_rows_that_a_person_reads_do_not_move_new_ones_are_offered(shop: Shop, open_page: OpenPage):
    for number in range(60):
        shop.order(str(number))
    shop.settle(60)
    page = open_page(f"{shop.server.url}/runs")
    expect(page.locator(ROWS).first).to_be_visible()
    page.locator(".scroller").evaluate("(scroller) => { scroller.scrollTop = 400; }")
    shop.order("new")
    offer = page.get_by_role("button", name="1 new run")
    expect(offer).to_be_visible()
    offer.click()
    newest = shop.server.runs()[0]["run_id"]
    expect(page.locator(ROWS).first).to_have_attribute("data-run", newest)


def test_runs_are_filtered_by_status_function_event_and_time_and_the_address_keeps_the_filter(
    shop: Shop, open_page: OpenPage
):
    shop.order("1")
    shop.server.send({"name": "order/refused", "data": {}})
    shop.settle(2)
    page = open_page(f"{shop.server.url}/runs")
    expect(page.locator(ROWS)).to_have_count(2)
    page.get_by_role("button", name="Status").click()
    page.get_by_role("checkbox", name="Failed").check()
    page.keyboard.press("Escape")
    expect(page.locator(ROWS)).to_have_count(1)
    expect(page.locator(ROWS)).to_contain_text("store-refuse")
    page.reload()
    expect(page.locator(ROWS)).to_have_count(1)
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator(ROWS)).to_have_count(2)
    page.get_by_label("Event", exact=True).select_option("order/created")
    expect(page.locator(ROWS)).to_have_count(1)
    expect(page.locator(ROWS)).to_contain_text("store-fulfil")
    page.get_by_label("Queued", exact=True).select_option("15m")
    expect(page.locator(ROWS)).to_have_count(1)
    assert "last=15m" in page.url
    assert "event=order" in page.url


def test_runs_are_found_by_words_in_their_event_and_by_expressions(shop: Shop, open_page: OpenPage):
    for order_id, cents in (("apple", 100), ("pear", 200), ("plum", 300)):
        shop.order(order_id, cents)
    shop.settle(3)
    page = open_page(f"{shop.server.url}/runs", errors=True)
    expect(page.locator(ROWS)).to_have_count(3)
    page.keyboard.press("/")
    page.keyboard.type("PEAR")
    expect(page.locator(ROWS)).to_have_count(1)
    search = page.get_by_role("searchbox")
    search.fill("cel: event.data.cents > 150 && event.data.order_id != 'pear'")
    expect(page.locator(ROWS)).to_have_count(1)
    search.fill("cel: event.data.cents >")
    expect(page.get_by_role("alert").filter(has_text="cannot be read")).to_be_visible()
    search.fill("nothing like it")
    expect(page.get_by_role("heading", name="No runs match")).to_be_visible()
    # A search follows along too: what matches appears.
    shop.order("nothing like it")
    expect(page.locator(ROWS)).to_have_count(1)


def test_many_failed_runs_are_replayed_after_a_preview_of_how_many(shop: Shop, open_page: OpenPage):
    shop.broken.add("database")
    for number in range(5):
        shop.order(str(number))
    shop.settle(5)
    shop.broken.clear()
    page = open_page(f"{shop.server.url}/runs?status=Failed")
    expect(page.locator(ROWS)).to_have_count(5)
    page.get_by_label("Select all loaded runs").check()
    bar = page.get_by_role("toolbar", name="Selected runs")
    expect(bar).to_contain_text("5 selected")
    bar.get_by_role("button", name="Replay").click()
    dialog = page.get_by_role("dialog", name="Replay runs")
    expect(dialog).to_contain_text("Replay 5 runs?")
    assert len(shop.server.runs()) == 5
    dialog.get_by_role("button", name="Replay 5 runs").click()
    expect(page.get_by_role("status").filter(has_text="5 runs replayed.")).to_be_visible()
    until(lambda: len(shop.server.runs(status="Completed")) == 5)
    expect(bar).to_be_hidden()


def test_many_runs_are_cancelled_and_those_that_ended_are_left_alone(shop: Shop, open_page: OpenPage):
    shop.order("1")
    shop.settle(1)
    for number in range(3):
        shop.server.send({"name": "order/packed", "data": {"order_id": str(number)}})
    until(lambda: len(shop.server.runs(status="Running")) == 3)
    page = open_page(f"{shop.server.url}/runs")
    expect(page.locator(ROWS)).to_have_count(4)
    page.get_by_label("Select all loaded runs").check()
    page.get_by_role("toolbar", name="Selected runs").get_by_role("button", name="Cancel…").click()
    dialog = page.get_by_role("dialog", name="Cancel runs")
    expect(dialog).to_contain_text("Cancel 3 runs?")
    expect(dialog).to_contain_text("1 run of 4 will not be changed")
    dialog.get_by_role("button", name="Cancel 3 runs").click()
    until(lambda: len(shop.server.runs(status="Cancelled")) == 3)
    expect(page.locator(ROWS).filter(has_text="Cancelled")).to_have_count(3)
    assert len(shop.server.runs(status="Completed")) == 1


def test_the_list_is_used_with_keys_alone(shop: Shop, open_page: OpenPage):
    for number in range(3):
        shop.order(str(number))
    shop.settle(3)
    page = open_page(f"{shop.server.url}/runs")
    expect(page.locator(ROWS)).to_have_count(3)
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator(ROWS).nth(1).locator(".row-link")).to_be_focused()
    page.keyboard.press("x")
    expect(page.get_by_role("toolbar", name="Selected runs")).to_contain_text("1 selected")
    page.keyboard.press("Escape")
    expect(page.get_by_role("toolbar", name="Selected runs")).to_be_hidden()
    page.keyboard.press("k")
    newest = page.locator(ROWS).first.get_attribute("data-run")
    page.keyboard.press("Enter")
    expect(page.locator(".run-id")).to_have_text(str(newest))
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keyboard shortcuts")


def test_times_are_relative_and_show_the_moment_and_its_zone(shop: Shop, open_page: OpenPage):
    shop.order("1")
    shop.settle(1)
    page = open_page(f"{shop.server.url}/runs")
    moment = page.locator(f"{ROWS} time").first
    expect(moment).to_have_text(re.compile("just now|s ago"))
    expect(moment).to_have_attribute("title", re.compile(r"Europe/Paris \(UTC\+[12]\)"))
    page.get_by_role("button", name="Europe/Paris").click()
    expect(moment).to_have_attribute("title", re.compile(r"UTC\n"))


def test_a_phone_shows_what_matters_of_each_run(shop: Shop, open_page: OpenPage):
    shop.order("1")
    shop.settle(1)
    page = open_page(f"{shop.server.url}/runs", size=PHONE)
    row = page.locator(ROWS)
    expect(row.locator(".c-status")).to_be_visible()
    expect(row.locator(".c-function")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    row.locator(".row-link").click()
    expect(page.locator(".run-title")).to_contain_text("store-fulfil")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
