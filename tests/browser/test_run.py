"""One run: its trace, what it waits for and what would match, its child, and the buttons that help."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from milepost import App, Context, Event
from tests.console.served import Served, served, until

from .conftest import OpenPage
from .shop import QUICK, make_app


@pytest.fixture
def shop() -> Iterator[Served]:
    app, _ = make_app()
    with served(app) as server:
        yield server


def waiting(shop: Served) -> str:
    shop.send({"name": "order/packed", "data": {"order_id": "7"}})
    until(
        lambda: [
            row for row in shop.runs(status="Running") if len(shop.get(f"/api/runs/{row['run_id']}")["trace"]) == 4
        ]
    )
    return shop.runs(status="Running")[0]["run_id"]


def test_a_wait_shows_what_would_match_sends_it_and_the_run_continues_on_the_page(shop: Served, open_page: OpenPage):
    run_id = waiting(shop)
    page = open_page(f"{shop.url}/runs/{run_id}")
    expect(page.get_by_role("button", name="3 in parallel")).to_contain_text("3 of 3 done")
    page.get_by_role("button", name="delivered, Waiting").click()
    panel = page.get_by_role("complementary", name="Step delivered")
    expect(panel).to_contain_text("order/delivered ends this wait if:")
    expect(panel.locator(".command code").first).to_contain_text('"7"')
    expect(panel).to_contain_text("It times out in")
    panel.get_by_role("link", name="Send a matching event").click()
    expect(page.get_by_label("Data", exact=True)).to_have_value('{\n  "order_id": "7"\n}')
    page.get_by_role("button", name="Send", exact=True).click()
    event = page.get_by_role("complementary", name="Event")
    expect(event).to_contain_text("Ended waits")
    event.get_by_role("link", name="store-deliver").click()
    expect(page.locator(".run-title .badge")).to_have_text("Completed")
    # The child that it invoked is linked, and links back.
    page.get_by_role("button", name="thank, Completed").click()
    page.get_by_role("complementary", name="Step thank").locator("a.mono").click()
    expect(page.locator("h1")).to_have_text("store-thank")
    page.locator(".facts").get_by_role("link", name=run_id).click()
    expect(page.locator("h1")).to_have_text("store-deliver")


def test_a_run_that_waits_for_another_leads_to_it_and_back(shop: Served, open_page: OpenPage):
    app = App("chain")

    @app.function(id="ask", trigger=Event("chain/asked"))
    async def ask(ctx: Context[Any]) -> None:
        await ctx.step.invoke("child", child)

    @app.function(id="child", triggers=[])
    async def child(ctx: Context[Any]) -> None:
        await ctx.step.wait_for_event("never", "chain/never", timeout="1h")

    shop.serve(app)
    shop.send({"name": "chain/asked"})
    until(lambda: shop.runs(function="chain-child"))
    [parent], [invoked] = shop.runs(function="chain-ask"), shop.runs(function="chain-child")
    page = open_page(f"{shop.url}/runs/{parent['run_id']}")
    page.get_by_role("button", name="child, Invoking").click()
    page.get_by_role("complementary", name="Step child").get_by_role("link", name=invoked["run_id"]).click()
    expect(page.locator("h1")).to_have_text("chain-child")
    page.locator(".facts").get_by_role("link", name=parent["run_id"]).click()
    expect(page.locator("h1")).to_have_text("chain-ask")


def test_a_running_run_is_cancelled_with_a_reason(shop: Served, open_page: OpenPage):
    page = open_page(f"{shop.url}/runs/{waiting(shop)}")
    page.get_by_role("button", name="Cancel").click()
    dialog = page.get_by_role("dialog", name="Cancel this run?")
    dialog.get_by_label("Reason").fill("ordered twice")
    dialog.get_by_role("button", name="Cancel the run").click()
    expect(page.locator(".run-title .badge")).to_have_text("Cancelled")
    expect(page.get_by_role("region", name="What happened")).to_contain_text("ordered twice")


def test_a_run_is_replayed_with_an_edited_event(shop: Served, open_page: OpenPage):
    shop.send({"name": "order/created", "data": {"order_id": "1"}})
    [run] = shop.ended(1)
    page = open_page(f"{shop.url}/runs/{run['run_id']}")
    page.get_by_role("button", name="Edit event and replay").click()
    dialog = page.get_by_role("dialog", name="Edit event and replay")
    field = dialog.get_by_label("Data of order/created")
    field.fill('{"order_id": ')
    expect(dialog).to_contain_text("Not JSON")
    expect(dialog.get_by_role("button", name="Replay with this event")).to_be_disabled()
    field.fill('{"order_id": "edited", "cents": 1}')
    expect(dialog).to_contain_text("Matches the event's model.")
    dialog.get_by_role("button", name="Replay with this event").click()
    expect(page.get_by_text("Replay of", exact=True)).to_be_visible()
    expect(page.locator(".run-title .badge")).to_have_text("Completed")
    expect(page.get_by_role("region", name="output of the run")).to_contain_text("payment-edited")
    page.locator(".facts").get_by_role("link", name=run["run_id"]).click()
    expect(page.get_by_role("heading", name="Replays of this run")).to_be_visible()


def test_an_error_that_is_final_says_so_and_the_event_can_be_taken_to_a_shell(shop: Served, open_page: OpenPage):
    shop.send({"name": "order/refused", "data": {"note": "it's"}})
    [run] = shop.ended(1)
    page = open_page(f"{shop.url}/runs/{run['run_id']}")
    happened = page.get_by_role("region", name="What happened")
    expect(happened).to_contain_text("the order was refused for good")
    expect(happened).to_contain_text("the remaining attempts were not made")
    # It is the function's own error: its row is there, open at its one attempt.
    expect(page.get_by_role("button", name="(function), Failed, 1 failed attempt")).to_be_visible()
    expect(page.get_by_role("complementary", name="Step (function)")).to_contain_text("Attempts (1 of at most 2)")
    page.get_by_text("As curl").click()
    command = page.locator(".curl, details").filter(has_text="curl -X POST").first
    expect(command).to_contain_text("it'\\''s")
    command.get_by_role("button", name="Copy").first.click()
    assert "/e/dev" in page.evaluate("navigator.clipboard.readText()")


def test_a_function_that_returned_after_a_failed_try_shows_both_tries_and_the_wait_between_them(
    shop: Served, open_page: OpenPage
):
    app = App("moody", retries=QUICK)

    @app.function(id="body", trigger=Event("moody/asked"))
    async def body(ctx: Context[Any]) -> str:
        if not ctx.attempt:
            raise ValueError("not in the mood")
        return "well then"

    shop.serve(app)
    shop.send({"name": "moody/asked"})
    [run] = shop.ended(1)
    page = open_page(f"{shop.url}/runs/{run['run_id']}")
    page.get_by_role("button", name="(function), Completed, 1 failed attempt").click()
    panel = page.get_by_role("complementary", name="Step (function)")
    expect(panel).to_contain_text("Attempts (2 of at most 2)")
    expect(panel).to_contain_text("not in the mood")
    expect(panel.locator(".waited")).to_contain_text("waited")
    expect(panel.get_by_role("region", name="output")).to_contain_text("well then")
