"""The examples of docs/starting.md run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).parents[2] / "docs" / "starting.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


async def test_the_example_buys_an_order_in_a_harness():
    shop, _, test = BLOCKS
    names: dict[str, Any] = {"__name__": "starting_page"}
    exec(compile(shop + test, "docs/starting.md", "exec", dont_inherit=True), names)
    await names["test_an_order_is_bought"]()
