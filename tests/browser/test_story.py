"""The story of the README, seen in the dashboard of a dev server that runs as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.console.process import ROOT, DevProcess

from .conftest import OpenPage
from .pictures import picture

FULFIL = "shop-fulfil-order"


class Shop(DevProcess):
    """The sample, whose services can be broken."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "samples/shop/app.py")

    def switch(self, verb: str, service: str) -> None:
        command = [sys.executable, "-m", "samples.shop.services", verb, service]
        environment = {**os.environ, "SHOP_FOLDER": str(self.folder)}
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)

    def charges(self) -> int:
        return (self.folder / "ledger.jsonl").read_text().count('"charge"')


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    made.start()
    yield made
    made.stop()


def test_a_person_sees_an_order_fail_fixes_the_database_and_replays_it_to_success(shop: Shop, open_page: OpenPage):
    page = open_page(f"{shop.url}/")
    expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()

    # The form knows the event's model: it fills in an example and says what does not fit.
    page.get_by_role("link", name="Send an event").click()
    page.get_by_label("Name", exact=True).fill("order/created")
    data = page.get_by_label("Data", exact=True)
    data.fill('{"order_id": 7}')
    expect(page.get_by_text("The event's model would reject this:")).to_be_visible()
    data.fill('{"order_id": "7", "email": "ada@example.com"}')
    expect(page.get_by_text("Matches the event's model.")).to_be_visible()
    page.get_by_role("button", name="Send", exact=True).click()
    started = page.get_by_role("complementary", name="Event")
    expect(started.get_by_role("link", name=FULFIL)).to_be_visible()
    started.get_by_role("link", name=FULFIL).click()
    expect(page.locator(".run-title .badge")).to_have_text("Completed")

    # The database breaks: the page follows the retries without a reload.
    shop.switch("break", "database")
    shop.send("order/created", {"order_id": "8", "email": "grace@example.com"})
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Runs").click()
    page.get_by_role("link", name=FULFIL).first.click()
    diagnosis = page.get_by_role("region", name="What happened")
    expect(diagnosis).to_contain_text("Step create fulfilment failed 1 time of at most 5")
    expect(diagnosis).to_contain_text("ServiceDownError: the database service is down")
    expect(page.get_by_role("button", name="charge card, Completed")).to_be_visible()
    expect(page.locator(".bar-note")).to_contain_text("next attempt in")

    # It fails for good, and the page says in which step, why, and what to press.
    expect(page.locator(".run-title .badge")).to_have_text("Failed", timeout=60_000)
    expect(diagnosis).to_contain_text("Failed in step create fulfilment, after 5 attempts.")
    expect(diagnosis).to_contain_text("replay from this step")
    expect(page.get_by_role("region", name="traceback", exact=True)).to_contain_text(
        "Traceback (most recent call last)"
    )
    expect(page.get_by_text("Attempt 5", exact=True).first).to_be_visible()
    lines = page.get_by_role("list", name="Log lines of the step")
    expect(lines).to_contain_text("asking the database service to insert into fulfilments")
    expect(lines.get_by_text("Attempt 5", exact=True)).to_be_visible()
    picture(page, "failed")

    # Fixed and replayed: the charge is kept, the rest runs.
    shop.switch("fix", "database")
    charged = shop.charges()
    diagnosis.get_by_role("button", name="Replay from create fulfilment").click()
    expect(page.locator(".run-title .badge")).to_have_text("Completed")
    expect(page.get_by_text("Replay of", exact=True)).to_be_visible()
    expect(page.locator("[data-span]", has_text="charge card")).to_contain_text("kept")
    expect(page.locator(".trace")).to_contain_text("send confirmation")
    assert shop.charges() == charged
    picture(page, "replayed")

    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Runs").click()
    expect(page.locator(".virtual > .run-row")).to_have_count(7)
    picture(page, "runs")
