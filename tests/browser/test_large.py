"""Ten thousand runs, and a run of a thousand steps and two hundred branches, stay quick to open and to scroll.

The budgets (300 ms to the first row, 500 ms to the trace) are printed beside what was measured; the assertions leave
room for a machine that does other work too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from milepost import App, Context, Event
from milepost_console.server.search import SCAN_LIMIT
from tests.console.served import Served, served, until

from .conftest import Measured, OpenPage

RUNS = 10_000
STEPS, BRANCHES = 1000, 200
FIRST_ROW_MS, TRACE_MS, ROOM = 300, 500, 3

_WATCH = """
new MutationObserver((_, observer) => {
  if (!document.querySelector(".virtual > *")) return;
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => { window.firstRowAt = performance.now(); }));
}).observe(document, {childList: true, subtree: true});
"""
"""Notes when the first row has been painted, since the page was asked for."""

_SCROLL = """
async (scroller) => {
  const gaps = [];
  let last = performance.now();
  for (let turn = 0; turn < 40; turn++) {
    scroller.scrollTop += 300;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    gaps.push(now - last);
    last = now;
  }
  return gaps.sort((one, other) => one - other)[Math.floor(gaps.length * 0.9)];
}
"""
"""The time of a frame while scrolling, 90 of 100 are shorter."""


async def same(number: int) -> int:
    return number


@pytest.fixture(scope="module")
def crowded() -> Iterator[Served]:
    app = App("large")

    @app.function(id="one", trigger=Event("one/happened"))
    async def one(ctx: Context[Any]) -> int:
        return ctx.event.data["number"]

    @app.function(id="long", trigger=Event("long/asked"), mode="checkpoint")
    async def long(ctx: Context[Any]) -> None:
        for number in range(STEPS - BRANCHES):
            await ctx.step.run(f"step {number}", same, number)
        await asyncio.gather(*(ctx.step.run(f"branch {number}", same, number) for number in range(BRANCHES)))

    with served(app) as server:
        for start in range(0, RUNS, 500):
            server.send(*({"name": "one/happened", "data": {"number": start + place}} for place in range(500)))
        server.send({"name": "long/asked", "data": {}})
        until(lambda: server.runs(function="large-long", status="Completed"), seconds=90)
        until(lambda: not server.runs(status="Running") and not server.runs(status="Queued"), seconds=90)
        yield server


def first_row_ms(page: Page, url: str) -> float:
    """The best of three openings, as a person without a cold cache sees it."""
    page.add_init_script(_WATCH)
    taken = []
    for _ in range(3):
        page.goto(url)
        taken.append(float(page.wait_for_function("() => window.firstRowAt").json_value()))
    return min(taken)


def test_the_first_of_ten_thousand_runs_is_there_at_once_and_scrolling_is_smooth(
    crowded: Served, open_page: OpenPage, measured: Measured
):
    page = open_page(f"{crowded.url}/apps")
    took = first_row_ms(page, f"{crowded.url}/runs")
    measured("first row of 10,000 runs", took, FIRST_ROW_MS)
    scroller = page.locator(".scroller")
    frame = scroller.evaluate(_SCROLL)
    measured("a frame while scrolling through runs", frame, 16.7)
    expect(page.locator(".virtual > .run-row").first).to_be_visible()
    assert page.locator(".virtual > .run-row").count() < 100
    assert took < FIRST_ROW_MS * ROOM
    assert frame < 100


def test_a_run_of_a_thousand_steps_opens_at_once_and_can_be_searched(
    crowded: Served, open_page: OpenPage, measured: Measured
):
    [run] = crowded.runs(function="large-long")
    page = open_page(f"{crowded.url}/apps")
    took = first_row_ms(page, f"{crowded.url}/runs/{run['run_id']}")
    measured("trace of 1,000 steps", took, TRACE_MS)
    frame = page.locator(".trace-scroller").evaluate(_SCROLL)
    measured("a frame while scrolling through the trace", frame, 16.7)
    expect(page.locator(".trace-tools")).to_contain_text("1,000 steps")
    page.get_by_label("Find a step by name").fill("step 555")
    expect(page.locator(".span-row")).to_have_count(1)
    page.get_by_role("button", name="step 555, Completed").click()
    expect(page.get_by_role("complementary", name="Step step 555")).to_contain_text("555")
    page.get_by_label("Find a step by name").fill("")
    page.locator(".trace-scroller").evaluate("(scroller) => { scroller.scrollTop = scroller.scrollHeight; }")
    expect(page.get_by_role("button", name="200 in parallel")).to_contain_text("200 of 200 done")
    page.get_by_role("button", name="200 in parallel").click()
    expect(page.get_by_role("button", name="branch 0, Completed")).to_be_visible()
    assert took < TRACE_MS * ROOM
    assert frame < 100


def test_an_incomplete_search_says_so_and_continues_when_asked(crowded: Served, open_page: OpenPage):
    page = open_page(f"{crowded.url}/runs?q=cel:event.data.number == -1")
    top = page.locator(".list-top")
    expect(top).to_contain_text(
        "This list is incomplete. The search stopped before it had checked the runs queued before"
    )
    for _ in range(RUNS // SCAN_LIMIT):
        before = top.inner_text()
        page.get_by_role("button", name="Search further back").click()
        expect(top).not_to_have_text(before)
    expect(top).to_have_text("")
    expect(page.get_by_role("heading", name="No runs match")).to_be_visible()


def test_a_run_is_found_by_its_id_or_its_event_however_old_it_is(crowded: Served, open_page: OpenPage):
    oldest = crowded.get("/api/runs?function=large-one&limit=500")["runs"][-1]
    for name in ("run_id", "event_id"):
        page = open_page(f"{crowded.url}/runs?q={oldest[name].lower()}")
        expect(page.locator(".virtual > .run-row")).to_have_count(1)
        expect(page.locator(".virtual > .run-row")).to_have_attribute("data-run", oldest["run_id"])
        expect(page.locator(".list-top")).to_have_text("")
