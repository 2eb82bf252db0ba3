"""The examples of docs/testing.md run."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
HEADINGS = re.split(r"^## ", PAGE, flags=re.MULTILINE)
EXAMPLES = {
    part.partition("\n")[0]: code
    for part in HEADINGS
    for code in re.findall(r"^```python\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
}


def test_there_is_an_example_for_each_thing_that_can_be_injected():
    assert list(EXAMPLES) == [
        "Skip time, replace steps",
        "Inject events",
        "Let steps fail, and replay",
        "Crash at every point",
        "With AWS in the test",
    ]


@pytest.mark.parametrize("name", EXAMPLES)
async def test_the_example_runs(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SHOP_FOLDER", str(tmp_path))
    names: dict[str, Any] = {}
    exec(compile(EXAMPLES[name], "docs/testing.md", "exec"), names)
    (test,) = [value for key, value in names.items() if key.startswith("test_")]
    await test(*(request.getfixturevalue(fixture) for fixture in inspect.signature(test).parameters))
