"""The examples of docs/serving.md serve an app."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def paths_of(names: dict[str, Any]) -> list[str]:
    if "urlpatterns" in names:
        return [str(pattern.pattern) for pattern in names["urlpatterns"]]
    web = names["web"]
    return [rule.rule for rule in web.url_map.iter_rules()] if hasattr(web, "url_map") else [r.path for r in web.routes]


@pytest.mark.parametrize("place", range(3))
def test_the_example_serves_the_app_at_its_path(place: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILEPOST_DEV", "1")
    assert len(BLOCKS) == 3
    if "urlpatterns" in BLOCKS[place] and find_spec("django") is None:
        pytest.skip("needs Django")
    names: dict[str, Any] = {"__name__": "serving_page"}
    exec(compile(BLOCKS[place], "docs/serving.md", "exec"), names)
    assert any("api/milepost" in path for path in paths_of(names))
