"""Pictures for the README and the documentation, made by the tests when PICTURES=1 asks for them."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.sync_api import Page

FOLDER = Path(__file__).parents[2] / "docs" / "images"
PREFIXED = "dashboard"
_HIDE_FOLDER = """
(folder) => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    text.nodeValue = text.nodeValue.replaceAll(folder, "/home/ada/shop");
  }
}
"""
"""Tracebacks name the folder of whoever took the picture."""


def picture(page: Page, name: str) -> None:
    """Keep the page as it looks now, in light and in dark. Nothing is written unless asked for."""
    if os.environ.get("PICTURES") != "1":
        return
    FOLDER.mkdir(exist_ok=True)
    page.evaluate(_HIDE_FOLDER, str(FOLDER.parents[1]))
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.screenshot(path=FOLDER / f"{PREFIXED}-{name}-{scheme}.png", animations="disabled")
    page.emulate_media(color_scheme="light", reduced_motion="no-preference")
