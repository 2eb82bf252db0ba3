"""What strangers wrote stays text, and the page never pretends: what is old or broken is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from milepost import App, Context, Event
from tests.console.process import DevProcess
from tests.console.served import Served, served, until

from .conftest import OpenPage
from .shop import make_app

HOSTILE = '<img src=x onerror="window.taken=1"><script>window.taken=1</script>javascript:alert(1)\u202egnp.exe'


@pytest.fixture
def hostile() -> Iterator[Served]:
    app = App("hostile")

    @app.function(id="echo", name=HOSTILE, trigger=Event("any/*"))
    async def echo(ctx: Context[Any]) -> object:
        async def body() -> str:
            if "fail" in ctx.event.data:
                raise ValueError(HOSTILE)
            return HOSTILE

        return await ctx.step.run(HOSTILE, body)

    with served(app) as server:
        server.send({"name": f"any/{HOSTILE}"[:255], "data": {HOSTILE: HOSTILE, "__proto__": {"taken": 1}}})
        server.ended(1)
        yield server


def test_hostile_names_payloads_steps_and_outputs_are_shown_as_text_and_run_nothing(
    hostile: Served, open_page: OpenPage
):
    [run] = hostile.runs()
    page = open_page(f"{hostile.url}/runs")
    for path in (
        "/runs",
        f"/runs/{run['run_id']}",
        f"/events/{run['event_id']}",
        f"/events/{run['event_id']}?resend=1",
        "/functions",
        "/functions/hostile-echo",
        f"/events?send={HOSTILE}&data={HOSTILE}",
        f"/runs?q={HOSTILE}&function={HOSTILE}&origin={HOSTILE}",
    ):
        page.goto(hostile.url + path)
        expect(page.locator("#page > *").first).to_be_visible()
        expect(page.locator("#page")).to_contain_text("")
        assert page.evaluate("window.taken") is None, path
        assert page.locator("#page img, #page script, #page iframe").count() == 0, path
    page.goto(f"{hostile.url}/runs/{run['run_id']}")
    output = page.get_by_role("region", name="output of the run")
    expect(output).to_contain_text("<script>window.taken=1</script>")
    # A letter that turns the direction of writing is made visible, so that a text cannot look like another.
    expect(output).to_contain_text("\\u202egnp.exe")


def test_the_page_runs_no_script_but_its_own_and_other_origins_can_change_nothing(hostile: Served):
    page = httpx.get(f"{hostile.url}/runs", trust_env=False)
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    [run] = hostile.runs()
    replay = f"{hostile.url}/api/runs/{run['run_id']}/replay"
    plain = {"content-type": "text/plain"}
    assert httpx.post(replay, content="{}", headers=plain, trust_env=False).status_code == 403
    foreign = {"origin": "http://evil.example", "x-milepost": "1", "content-type": "application/json"}
    assert httpx.post(replay, content="{}", headers=foreign, trust_env=False).status_code == 403
    rebound = {"host": "evil.example"}
    assert httpx.get(f"{hostile.url}/runs", headers=rebound, trust_env=False).status_code == 403
    assert len(hostile.runs()) == 1


def test_a_page_whose_server_went_away_says_since_when_and_catches_up_when_it_is_back(
    tmp_path: Path, open_page: OpenPage
):
    server = DevProcess(tmp_path, "samples/shop/app.py")
    server.start()
    try:
        page = open_page(f"{server.url}/runs", errors=True)
        expect(page.locator("#live")).to_have_text("Live")
        server.kill()
        banner = page.locator("#banner")
        expect(banner).to_contain_text("Live updates have stopped. This page shows the state of", timeout=15_000)
        expect(page.locator("#live")).to_have_text("Offline")
        server.start()
        server.send("user/signed-up", {"user_id": "1", "email": "ada@example.com"})
        expect(banner).to_be_hidden(timeout=20_000)
        expect(page.locator("#live")).to_have_text("Live")
        # What happened while nobody listened is there.
        expect(page.locator(".virtual > .run-row")).to_have_count(3)
    finally:
        server.stop()


PICKY = """
from milepost import App, Context, Event

app = App("picky")

@app.function(id="large", trigger=Event("order", if_="event.data.cents > 100"))
async def large(ctx: Context) -> None: ...

@app.function(id="once", trigger=Event("order"), idempotency="event.data.cart")
async def once(ctx: Context) -> None: ...
"""


def test_why_an_event_started_nothing_is_still_shown_after_a_restart_and_what_is_unknown_is_said(
    tmp_path: Path, open_page: OpenPage
):
    (tmp_path / "picky.py").write_text(PICKY)
    server = DevProcess(tmp_path, str(tmp_path / "picky.py"))
    server.start()
    try:
        server.send("order", {"cents": 500, "cart": 1})
        event_id = server.send("order", {"cents": 5, "cart": 1})
        until(lambda: server.call(f"/api/events/{event_id}")["started"] == [], details=server.log)
        server.stop()
        server.start()
        page = open_page(f"{server.url}/events/{event_id}", errors=True)
        panel = page.get_by_role("complementary", name="Event")
        expect(panel).to_contain_text("It started no runs.")
        reasons = panel.locator(".skipped li")
        expect(reasons).to_have_count(2)
        expect(reasons.filter(has_text="picky-large")).to_contain_text("'event.data.cents > 100' is false")
        expect(reasons.filter(has_text="picky-once")).to_contain_text("was already used in the last 24 hours")
        expect(panel).to_contain_text("This server does not know whether the event ended a wait")
        expect(page.locator(".event-row").first).to_contain_text("2 skipped")
        [earlier, _] = server.runs()
        page.goto(f"{server.url}/runs/{earlier['run_id']}")
        logs = page.get_by_role("region", name="Logs")
        expect(logs).to_contain_text("The dev server was started")
        expect(logs).to_contain_text("after this run: earlier lines are not kept")
    finally:
        server.stop()


def test_a_stack_without_live_updates_is_polled_and_the_page_says_so(open_page: OpenPage):
    app, _ = make_app()
    with served(app, stack="milepost-test") as server:
        page = open_page(f"{server.url}/runs")
        expect(page.locator("#live")).to_have_text("Every 10 s")
        expect(page.locator("#stack")).to_have_text("stack milepost-test")
        server.send({"name": "order/created", "data": {"order_id": "1"}})
        expect(page.locator(".virtual > .run-row")).to_have_count(1, timeout=15_000)


def test_a_missing_run_is_reported_with_what_to_do(hostile: Served, open_page: OpenPage):
    page = open_page(f"{hostile.url}/runs/01NOSUCHRUN", errors=True)
    expect(page.get_by_role("alert").filter(has_text="Run not found.")).to_contain_text("MP301")
    page.get_by_role("link", name="All runs").click()
    expect(page.locator(".virtual > .run-row")).to_have_count(1)
