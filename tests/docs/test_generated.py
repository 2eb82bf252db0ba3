"""The pages that are generated from the code are up to date."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_about_the_life_of_a_run_is_up_to_date():
    generated = runpy.run_path(str(DOCS / "generate.py"))["state_machine"]()
    assert (DOCS / "state-machine.md").read_text() == generated, "run `make docs` and commit docs/state-machine.md"
