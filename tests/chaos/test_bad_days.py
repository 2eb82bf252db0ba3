"""On any bad day nothing is lost, each run ends, and no recorded step runs again.

Each seed is one schedule of faults, deaths, duplicates and mixed-up workers (see world). `--thorough` tries thousands.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from milepost import App, Cancel, Context, Event, Retries

from .ledger import Ledger
from .world import World, world

STUBBORN = Retries(max_retries=15, first_delay="1s", max_delay="4s")
SCHEDULES = {"ports": (100, 2500), "http": (4, 200)}
"""How many by default, and how many with `--thorough`."""
REPORTED = (40, 2500)
"""The same for user code that nobody waits for."""


def shop(ledger: Ledger) -> App:
    """Every kind of step there is."""
    app = App("a")

    @app.function(id="child", triggers=[], retries=STUBBORN)
    async def child(ctx: Context) -> int:
        return await ctx.step.run("child", ledger.body(ctx, "child", 5))

    @app.function(id="story", trigger=Event("go"), retries=STUBBORN)
    async def story(ctx: Context) -> list[object]:
        first = await ctx.step.run("first", ledger.body(ctx, "first", "x" * 300))
        both = await asyncio.gather(
            ctx.step.run("left", ledger.body(ctx, "left", 2)), ctx.step.run("right", ledger.body(ctx, "right", 3))
        )
        await ctx.step.sleep("nap", "16m")
        fifth = await ctx.step.invoke("call", child)
        found = await ctx.step.wait_for_event(
            "signal", "signal", timeout="2h", lookback="2h", if_="async.data.n == event.data.n"
        )
        return [len(first), *both, fifth, found.data["n"] if found else None]

    @app.function(id="quick", trigger=Event("go"), retries=STUBBORN, mode="checkpoint")
    async def quick(ctx: Context) -> list[object]:
        return [await ctx.step.run(name, ledger.body(ctx, name, name)) for name in ("one", "two", "three")]

    @app.function(id="stopped", trigger=Event("go"), retries=STUBBORN, cancel_on=[Cancel("stop")])
    async def stopped(ctx: Context) -> None:
        await ctx.step.run("before", ledger.body(ctx, "before"))
        await ctx.step.sleep("for long", "30d")
        await ctx.step.run("after", ledger.body(ctx, "after"))

    return app


async def _story(made: World) -> None:
    await made.accept("go", {"n": 1}, b"0000000001")
    await made.accept("go", {"n": 2}, b"0000000002")
    await made.live(timedelta(minutes=20))
    await made.accept("signal", {"n": 2}, b"0000000003")
    await made.accept("stop", {}, b"0000000004")
    await made.live(timedelta(minutes=10))
    await made.accept("signal", {"n": 1}, b"0000000005")
    await made.live(timedelta(minutes=10))
    made.storm.share = 0.0  # the day after: what was held up continues without help
    await made.live(timedelta(minutes=75))


def _schedules(config: pytest.Config, few_and_many: tuple[int, int]) -> range:
    return range(few_and_many[config.getoption("--thorough")])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seam" in metafunc.fixturenames:
        config = metafunc.config
        waited = [(seam, seed, False) for seam, number in SCHEDULES.items() for seed in _schedules(config, number)]
        reported = [("ports", seed, True) for seed in _schedules(config, REPORTED)]
        metafunc.parametrize(("seam", "seed", "reports"), [*waited, *reported])


async def test_on_any_bad_day_nothing_is_lost_and_nothing_recorded_runs_again(
    seam: str, seed: int, *, reports: bool
) -> None:
    share = (0.02, 0.08, 0.2)[seed % 3]
    async with world(seed, shop, share=share, seam=seam, reports=reports) as made:
        await _story(made)
        runs = await made.runs()
        ended = sorted((run["function_id"], run["status"], str(run.get("output"))) for run in runs)
        summary = f"{made.storm.happened}, {made.deaths} deaths, {made.later.crashes} crashes of {made.later.begun}"
        assert made.ledger.broken == [], summary
        assert made.queue.dead == [], summary
        assert ended == [
            ("a-child", "Completed", "5"),
            ("a-child", "Completed", "5"),
            ("a-quick", "Completed", "['one', 'two', 'three']"),
            ("a-quick", "Completed", "['one', 'two', 'three']"),
            ("a-stopped", "Cancelled", ended[4][2]),
            ("a-stopped", "Cancelled", ended[5][2]),
            ("a-story", "Completed", "[300, 2, 3, 5, 1]"),
            ("a-story", "Completed", "[300, 2, 3, 5, 2]"),
        ], summary
