"""Every file that a page names exists: `core/machine.py` in the engine, the others from the repository's root."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASES = (ROOT, ROOT / "engine" / "milepost_engine")
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted(set((ROOT / "docs").glob("*.md")) - {ROOT / "docs" / "code-map.md"}),
]
"""The map of the code is made of docstrings, which name the modules beside their own; its links are checked."""
USERS = {"app.py", "mymodule.py", "more.py", "shop/app.py", "reports/app.py"}
"""Files of whoever reads the page."""


def named(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return set(re.findall(r"`((?:[\w-]+/)*[\w-]+\.(?:py|toml))`", text)) - USERS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path):
    assert [name for name in sorted(named(page)) if not any((base / name).is_file() for base in BASES)] == []


def names_in_files(page: Path) -> set[tuple[str, str]]:
    """Names with the files that a page says they are in: "`act` of `runs/acting.py`", "`core/x.py`: … (`NAME`)"."""
    file = r"`((?:[\w-]+/)*[\w-]+\.py)`"
    text = page.read_text()
    found = {(name, path) for name, path in re.findall(rf"`(\w+)` (?:of|in) {file}", text)}
    for path, rest in re.findall(rf"{file}: ([^`\n]*(?:`[^`/\n]+`[^`\n]*)*)", text):
        found |= {(name, path) for name in re.findall(r"\(`(\w+)`\)", rest)}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_name_stands_in_the_file_that_a_page_says(page: Path):
    missing = []
    for name, path in sorted(names_in_files(page)):
        files = [base / path for base in BASES if (base / path).is_file()]
        if not any(re.search(rf"\b{name}\b", file.read_text()) for file in files):
            missing.append(f"{name} in {path}")
    assert missing == []


def test_the_steps_for_an_opcode_say_in_which_files_names_are():
    assert {("act", "runs/acting.py"), ("READERS", "sdk/milepost/_replay/outcomes.py")} <= names_in_files(
        ROOT / "CONTRIBUTING.md"
    )


def test_the_page_about_the_path_of_a_run_names_many():
    assert len(named(ROOT / "docs" / "how-it-works.md")) > 20
