"""Statistics of a function say so when they are not of all its runs."""

from __future__ import annotations

from typing import Any

from milepost import App, Context, Event
from milepost.testing import Harness
from milepost_console.server.stats import Stats


async def test_statistics_over_the_latest_runs_only_are_marked_as_cut():
    app = App("a")

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context[Any]) -> None: ...

    async with Harness(app) as h:
        for _ in range(3):
            await h.send("go")
        all_of_them = await Stats(h.engine).of("a-f")
        latest = await Stats(h.engine, most=2).of("a-f")
    assert (all_of_them["completed"], all_of_them["cut"]) == (3, False)
    assert (latest["completed"], latest["cut"]) == (2, True)
