"""The complete example of docs/concepts.md runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from milepost.testing import Harness

PAGE = (Path(__file__).parents[2] / "docs" / "concepts.md").read_text()
COMPLETE = [code for code in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) if "App(" in code]


async def test_the_example_of_a_timeout_and_a_policy_runs():
    (code,) = COMPLETE
    names: dict[str, Any] = {}
    exec(compile(code, "docs/concepts.md", "exec"), names)
    async with Harness(names["app"]) as h:
        await h.send("order/placed")
        run = await h.only_run()
    assert (run["status"], run["output"]) == ("Completed", 1.08)
