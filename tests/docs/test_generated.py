"""The generated pages are up to date with the code."""

from __future__ import annotations

import runpy
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GENERATE = runpy.run_path(str(DOCS / "generate.py"))


@pytest.mark.parametrize("page", GENERATE["PAGES"])
def test_a_generated_page_is_up_to_date(page: str):
    text = (DOCS / page).read_text()
    assert text == GENERATE["PAGES"][page](), f"run `make docs` and commit docs/{page}"


def test_the_code_map_lists_every_module():
    text = (DOCS / "code-map.md").read_text()
    modules = [
        path.relative_to(ROOT)
        for package in GENERATE["PACKAGES"]
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    ]
    assert len(modules) > 100
    assert [str(path) for path in modules if f"](../{path})" not in text] == []


def test_the_code_map_covers_every_package_that_the_wheel_ships():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert list(GENERATE["PACKAGES"]) == project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
