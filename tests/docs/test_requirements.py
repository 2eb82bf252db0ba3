"""What a machine needs is the same wherever it is stated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STATED_IN = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "Makefile", ".github/workflows/ci.yml")),
    *(ROOT / "docs" / name for name in ("deploying.md", "errors.md")),
    ROOT / "console" / "milepost_console" / "stack" / "deploy.py",
    ROOT / "tests" / "browser" / "test_scripts.py",
    ROOT / "tests" / "official" / "test_javascript.py",
]
OLDEST_NODE = "20"
"""CI runs with it; the CDK CLI needs 18, and the official JavaScript SDK that the tests use 20."""


@pytest.mark.parametrize("path", STATED_IN, ids=lambda path: path.name)
def test_the_oldest_node_is_the_same_everywhere(path: Path):
    found = re.findall(r"""Node (\d+)|node-version: "(\d+)\"""", path.read_text())
    assert found
    assert {first or second for first, second in found} == {OLDEST_NODE}
