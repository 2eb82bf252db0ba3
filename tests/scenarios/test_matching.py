"""`match=` joins two events by a value that both have: never by one that both lack."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from milepost import App, Cancel, Context
from milepost_engine.ports import Target

from .rig import rig

HOUR = timedelta(hours=1)


def matching(path: str) -> App:
    app = App("a")

    @app.function(id="sleeper", trigger="go", cancel_on=Cancel("news", match=path))
    async def sleeper(ctx: Context) -> str:
        await ctx.step.sleep("nap", "1h")
        return "slept"

    @app.function(id="waiter", trigger="go")
    async def waiter(ctx: Context) -> str:
        found = await ctx.step.wait_for_event("w", "news", timeout="30m", match=path)
        return "found" if found else "timed out"

    return app


LACKING: list[dict[str, Any]] = [{}, {"order": None}, {"order": {}}, {"order": {"id": None}}, {"order": "text"}]


async def test_events_that_both_lack_the_value_do_not_match():
    async with rig(matching("data.order.id")) as r:
        for own in LACKING:
            await r.send("go", own)
        for theirs in LACKING:
            await r.send("news", theirs)
        await r.wind(HOUR)
        ended = Counter((run["function_id"], run["status"], run["output"]) for run in await r.runs())
        each = len(LACKING)
        assert ended == {("a-sleeper", "Completed", "slept"): each, ("a-waiter", "Completed", "timed out"): each}


@pytest.mark.parametrize("value", [0, "", False, "7", 7.5, [1], {"a": None}], ids=str)
async def test_events_with_the_same_value_match_and_others_do_not(value: object):
    async with rig(matching("data.order.id")) as r:
        await r.send("go", {"order": {"id": value}})
        for other in ({}, {"order": None}, {"order": {"id": "other"}}):
            await r.send("news", other)
        assert [run["status"] for run in await r.runs()] == ["Running", "Running"]
        await r.send("news", {"order": {"id": value}})
        ended = {run["function_id"]: (run["status"], run["output"]) for run in await r.runs()}
        assert ended == {"a-sleeper": ("Cancelled", None), "a-waiter": ("Completed", "found")}


@pytest.mark.parametrize("number", [2**53, 2**63 - 2, 2**63, 2**64, 2**128, 10**30, -(2**63) - 5], ids=str)
async def test_neighbouring_whole_numbers_do_not_match_however_large(number: int):
    async with rig(matching("data.token")) as r:
        await r.send("go", {"token": number + 1})
        for other in (number, number + 2):
            await r.send("news", {"token": other})
        assert [run["status"] for run in await r.runs()] == ["Running", "Running"]
        await r.send("news", {"token": number + 1})
        assert sorted(run["status"] for run in await r.runs()) == ["Cancelled", "Completed"]


async def test_the_condition_of_another_sdk_is_kept_as_it_was_written():
    """Their `match` is sent as a plain comparison, in which what is missing equals null."""
    app = matching("data.id")
    async with rig(app) as r:
        manifest = app.manifest("http://local/app")
        for function in manifest["functions"]:  # type: ignore[attr-defined]  # a list
            for cancel in function.get("cancel", ()):
                cancel["if"] = "event.data.id == async.data.id"
        await r.engine.registry.sync(manifest, Target("inprocess", app.id))
        await r.send("go", {})
        await r.send("news", {})
        assert (await r.only_run("a-sleeper"))["status"] == "Cancelled"
