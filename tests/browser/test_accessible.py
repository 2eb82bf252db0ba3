"""Everybody can use it: axe-core finds nothing serious on any page, in light, dark, and on a phone; keys reach all."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.console.served import Served, served, until

from .conftest import DESKTOP, PHONE, OpenPage
from .shop import make_app

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def shop() -> Iterator[Served]:
    app, broken = make_app()
    with served(app) as server:
        server.send({"name": "order/created", "data": {"order_id": "1"}}, {"name": "order/packed", "data": {}})
        until(lambda: server.runs(status="Completed"))
        broken.add("database")
        server.send({"name": "order/created", "data": {"order_id": "2"}}, {"name": "order/unheard", "data": {}})
        until(lambda: len(server.runs(status="Failed")) == 1)
        until(lambda: len(server.runs(status="Running")) == 1)
        yield server


def findings(page: Page) -> list[str]:
    """What axe-core finds wrong, by rule and place."""
    # Evaluated by the browser's own tools, which the page's policy for scripts does not bind.
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']}: {each['help']}: {node['html'][:200]} {node['failureSummary']}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]


def paths(shop: Served) -> list[str]:
    """Every kind of page."""
    [failed] = shop.runs(status="Failed")
    [running] = shop.runs(status="Running")
    return [
        "/runs",
        "/runs?q=nothing-like-it",
        f"/runs/{failed['run_id']}",
        f"/runs/{running['run_id']}",
        "/runs/01NOSUCHRUN",
        "/events?send=order/created",
        f"/events/{failed['event_id']}",
        "/functions",
        "/functions/store-fulfil",
        "/functions/store-report",
        "/apps",
    ]


@pytest.mark.parametrize(
    ("scheme", "size"), [("light", DESKTOP), ("dark", DESKTOP), ("dark", PHONE)], ids=["light", "dark", "phone"]
)
def test_axe_finds_nothing_serious_on_any_page(shop: Served, open_page: OpenPage, scheme: str, size: ViewportSize):
    page = open_page(f"{shop.url}/apps", dark=scheme == "dark", size=size, still=True, errors=True)
    problems = []
    for path in paths(shop):
        page.goto(shop.url + path)
        expect(page.locator("#page > *").first).to_be_visible()
        expect(page.locator("#live")).to_have_text("Live")
        problems += [f"{path} {each}" for each in findings(page)]
    assert problems == []
