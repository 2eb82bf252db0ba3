"""A real headless Chromium, for the tests of the dashboard. Every page of it must stay free of errors."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Playwright, Request, ViewportSize, sync_playwright

ZONE = "Europe/Paris"
DESKTOP: ViewportSize = {"width": 1360, "height": 860}
PHONE: ViewportSize = {"width": 390, "height": 800}
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

OpenPage = Callable[..., Page]
Measured = Callable[[str, float, float], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    """Notes a number, which is printed when all tests have run: what, milliseconds, budget."""

    def note(what: str, milliseconds: float, budget: float) -> None:
        record_property("measured", f"{what}: {milliseconds:.0f} ms (budget {budget:.0f} ms)")

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, value in report.user_properties:
            if name == "measured" and report.when == "call":
                terminalreporter.write_line(f"measured  {value}")


# Ended with this folder: while it lives, its thread counts as one with a running event loop, and no async test can run.
@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as made:
        yield made


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.fail("Chromium is missing: apt-get install chromium, or say where it is: CHROMIUM=/path/to/chromium")
    made = playwright.chromium.launch(executable_path=found, args=list(_FLAGS))
    yield made
    made.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens addresses in browsers of their own; afterwards none of them may have reported an error.

    `dark`, `size`, `still` (reduced motion) are what the reader's system says; `errors` are told apart by the caller
    where the server is stopped on purpose.
    """
    problems: list[str] = []
    contexts = []

    def opened(
        url: str, *, dark: bool = False, size: ViewportSize = DESKTOP, still: bool = False, errors: bool = False
    ) -> Page:
        context = browser.new_context(
            viewport=size,
            timezone_id=ZONE,
            locale="en-GB",
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce" if still else "no-preference",
            permissions=["clipboard-read", "clipboard-write"],
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        origin = "/".join(url.split("/")[:3])

        def said(message: ConsoleMessage) -> None:
            if message.type in {"error", "warning"} and not errors:
                problems.append(f"console: {message.text} {message.location.get('url', '')}")

        def failed(error: Error) -> None:
            problems.append(f"script: {error}")

        def asked(request: Request) -> None:
            if not request.url.startswith((origin, "data:")):
                problems.append(request.url)

        page.on("console", said)
        page.on("pageerror", failed)
        page.on("request", asked)
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []
