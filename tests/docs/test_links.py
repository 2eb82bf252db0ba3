"""Every link of the documentation to a file of this repository leads to one, and to a heading that it has.

The README is also the project's page on PyPI, where a relative link leads nowhere: its links are absolute. An absolute
link to our own repository is checked against the files here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
OWN = (
    "https://github.com/milepost-dev/milepost/blob/main/",
    "https://github.com/milepost-dev/milepost/tree/main/",
    "https://raw.githubusercontent.com/milepost-dev/milepost/main/",
)
LINK = re.compile(r"""\]\(\s*([^)\s]+)|\b(?:src|srcset|href)="([^"]+)\"""")


def links(page: Path) -> Iterator[str]:
    """Every target of a page, in Markdown and in HTML; code is no link."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for match in LINK.finditer(re.sub(r"`[^`\n]*`", "", text)):
        yield match.group(1) or match.group(2)


def file_of(page: Path, link: str) -> tuple[Path, str] | None:
    """The file and the heading that a link names; None for another site's."""
    address, _, anchor = link.partition("#")
    for prefix in OWN:
        if address.startswith(prefix):
            return ROOT / address.removeprefix(prefix), anchor
    if re.match(r"[a-z]+:", address):
        return None
    return (page.parent / address if address else page), anchor


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_to_this_repository_leads_to_a_file(page: Path):
    found = [(link, file_of(page, link)) for link in links(page)]
    assert [link for link, own in found if own and not own[0].exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_to_a_heading_finds_it(page: Path):
    named = [(link, own) for link in links(page) if (own := file_of(page, link)) and own[1] and own[0].exists()]
    assert [link for link, own in named if own[1] not in anchors(own[0])] == []


def test_every_link_and_picture_of_the_readme_works_on_pypi():
    readme = ROOT / "README.md"
    assert [link for link in links(readme) if not link.startswith(("https://", "http://127.0.0.1", "#"))] == []
    pictures = re.findall(r"""\bsrc(?:set)?="([^"]+)\"""", readme.read_text())
    assert pictures
    assert [link for link in pictures if not link.startswith(OWN[2])] == [], "GitHub serves pictures from here only"


def test_links_to_our_own_repository_are_checked():
    assert file_of(ROOT / "README.md", f"{OWN[0]}docs/cost.md#x") == (ROOT / "docs" / "cost.md", "x")
    assert file_of(ROOT / "docs" / "cost.md", "cli.md") == (ROOT / "docs" / "cli.md", "")
    assert file_of(ROOT / "README.md", "https://docs.getmoto.org") is None
