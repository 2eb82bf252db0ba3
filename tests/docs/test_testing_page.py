"""The examples of docs/testing.md run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


async def test_the_example_with_aws_runs(milepost_aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHOP_FOLDER", str(tmp_path))
    (code,) = [example for example in EXAMPLES if "milepost_aws" in example]
    names: dict[str, Any] = {}
    exec(compile(code, "docs/testing.md", "exec"), names)
    (test,) = [value for name, value in names.items() if name.startswith("test_")]
    await test(milepost_aws)
