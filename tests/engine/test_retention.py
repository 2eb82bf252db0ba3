"""How long runs and events are kept: as long as their app says, and never shorter than a run lives."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from milepost import App, Context, Event, errors
from milepost.testing import Harness
from milepost_engine.store.manifest import ManifestError, read_manifest


def app_of(app_id: str, retention: str | None) -> App:
    app = App(app_id, retention=retention)

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> int:
        return await ctx.step.run("step", lambda: 1)

    return app


async def test_an_apps_runs_are_kept_as_long_as_it_says_and_the_event_as_long_as_the_longest():
    async with Harness(app_of("short", "2d"), app_of("plain", None), app_of("long", "60d")) as h:
        event_id = await h.send("go")
        start, kept = h.clock.now(), []
        for days in (1, 3, 31, 62):
            await h.clock.advance_to(start + timedelta(days=days))
            h.engine.events.forget(event_id)
            found = sorted(run["app_id"] for run in await h.runs())
            kept.append((days, found, await h.engine.events.load(event_id) is not None))
    assert kept == [
        (1, ["long", "plain", "short"], True),
        (3, ["long", "plain"], True),
        (31, ["long"], True),
        (62, [], False),
    ]


@pytest.mark.parametrize("mode", ["step", "checkpoint"])
async def test_a_run_that_is_busy_for_longer_than_its_retention_is_not_lost(mode: Any):
    app = App("busy", retention="1d", mode=mode, checkpoint_budget=0)

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> str:
        for number in range(12):
            await ctx.step.run(f"step {number}", work)
        return str(ctx.event.data["kept"])

    async def work() -> None:
        await h.clock.advance(5 * 3600)

    async with Harness(app) as h:
        await h.send("go", {"kept": "yes"})
        run = await h.only_run()
        assert (run["status"], run["output"], len(run["trace"])) == ("Completed", "yes", 12)


@pytest.mark.parametrize("retention", ["1h", "367d", 0])
def test_a_retention_outside_its_limits_is_refused_where_it_is_declared(retention: Any):
    with pytest.raises(errors.BadDurationError, match="between 1 and 366 days"):
        App("a", retention=retention)


def test_a_retention_outside_its_limits_is_refused_at_registration():
    manifest: dict[str, Any] = app_of("a", "2d").manifest("http://127.0.0.1/a")
    assert read_manifest(manifest)[1][0].retention == timedelta(days=2)
    manifest["functions"][0]["milepost"]["retention"] = "1s"
    with pytest.raises(ManifestError, match="between 1 and 366 days"):
        read_manifest(manifest)
