"""What a run does with its steps: once each, remembered, retried, in any shape of code."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from functools import partial
from typing import Any, Literal

import pytest

from milepost import App, Context, Event, NonRetriableError, Retries, RetryAfterError, StepError, SyncContext
from milepost.errors import ConfigError
from tests.bodies import noting

from .rig import names, rig, step

QUICK = Retries(max_retries=3, first_delay="1s", factor=2, jitter=0)


async def test_three_steps_take_three_invocations_and_each_body_runs_once():
    app = App("a")
    bodies: list[Any] = []

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> int:
        one = await ctx.step.run("one", noting(bodies, "one", 1))
        two = await ctx.step.run("two", noting(bodies, "two", one + 1))
        return await ctx.step.run("three", noting(bodies, "three", two + 1))

    async with rig(app) as r:
        await r.send("go")
        run = await r.only_run()
        assert (run["status"], run["output"]) == ("Completed", 3)
        assert bodies == ["one", "two", "three"]
        assert len(r.served.calls) == 3
        assert names(run) == ["one", "two", "three"]


async def test_a_sync_function_works_the_same():
    app = App("a")
    bodies: list[Any] = []

    @app.function(id="f", trigger=Event("go"))
    def f(ctx: SyncContext) -> int:
        one = ctx.step.run("one", noting(bodies, "one", 1))
        ctx.step.sleep("nap", "10s")
        return ctx.step.run("two", noting(bodies, "two", one + 1))

    async with rig(app) as r:
        await r.send("go")
        await r.wind(11)
        run = await r.only_run()
        assert (run["status"], run["output"]) == ("Completed", 2)
        assert bodies == ["one", "two"]


async def test_a_failing_step_is_retried_with_backoff_and_the_step_before_it_is_not_repeated():
    app, charged, tries = App("a"), [], []

    @app.function(id="f", trigger=Event("go"), retries=QUICK)
    async def f(ctx: Context) -> str:
        await ctx.step.run("charge", lambda: charged.append(1))

        def write() -> str:
            tries.append(1)
            if len(tries) < 3:
                raise ConnectionError("database is down")
            return "written"

        return await ctx.step.run("write", write)

    async with rig(app) as r:
        await r.send("go")
        run = await r.only_run()
        assert run["status"] == "Running"
        assert step(run, "write")["status"] == "Retrying"
        await r.wind(10)
        run = await r.only_run()
        assert (run["status"], run["output"]) == ("Completed", "written")
        assert (len(charged), len(tries)) == (1, 3)
        attempts = step(run, "write")["attempts"]
        assert [a["attempt"] for a in attempts] == [0, 1, 2]
        assert [a["status"] for a in attempts] == ["Failed", "Failed", "Completed"]
        assert attempts[0]["error"]["message"] == "database is down"


async def test_after_the_last_attempt_the_run_fails_with_the_original_error_and_keeps_its_event():
    app, tries = App("a"), []

    @app.function(id="f", trigger=Event("go"), retries=QUICK)
    async def f(ctx: Context) -> None:
        def write() -> None:
            tries.append(1)
            raise ConnectionError("database is down")

        await ctx.step.run("write", write)

    async with rig(app) as r:
        await r.send("go", {"order": 7})
        await r.wind(60)
        run = await r.only_run()
        assert run["status"] == "Failed"
        assert len(tries) == 4
        assert run["error"]["message"] == "database is down"
        assert run["error"]["name"] == "ConnectionError"
        assert run["event"]["data"] == {"order": 7}


async def test_a_step_that_failed_for_good_can_be_caught_and_undone():
    app, undone = App("a"), []

    @app.function(id="f", trigger=Event("go"), retries=0)
    async def f(ctx: Context) -> str:
        try:
            await ctx.step.run("charge", lambda: 1 / 0)
        except StepError as failed:
            await ctx.step.run("undo", lambda: undone.append("undo"))
            return failed.name
        return "never"

    async with rig(app) as r:
        await r.send("go")
        run = await r.only_run()
        assert (run["status"], run["output"]) == ("Completed", "ZeroDivisionError")
        assert undone == ["undo"]


@pytest.mark.parametrize("where", ["step", "body"])
async def test_a_non_retriable_error_is_not_tried_again(where: str):
    app, tries = App("a"), []

    @app.function(id="f", trigger=Event("go"), retries=QUICK)
    async def f(ctx: Context) -> None:
        def refuse() -> None:
            tries.append(1)
            raise NonRetriableError("card is stolen")

        if where == "step":
            await ctx.step.run("charge", refuse)
        refuse()

    async with rig(app) as r:
        await r.send("go")
        await r.wind(60)
        run = await r.only_run()
        assert run["status"] == "Failed"
        assert run["error"]["message"] == "card is stolen"
        assert len(tries) == 1


async def test_an_error_of_the_function_body_is_retried_too():
    app, tries = App("a"), []

    @app.function(id="f", trigger=Event("go"), retries=QUICK)
    async def f(ctx: Context) -> int:
        await ctx.step.run("one", lambda: 1)
        tries.append(ctx.attempt)
        if ctx.attempt < 2:
            raise ValueError("not yet")
        return ctx.attempt

    async with rig(app) as r:
        await r.send("go")
        await r.wind(60)
        run = await r.only_run()
        assert (run["status"], run["output"]) == ("Completed", 2)


async def test_retry_after_sets_the_moment_of_the_next_try():
    app, at = App("a"), []

    @app.function(id="f", trigger=Event("go"), retries=QUICK)
    async def f(ctx: Context) -> str:
        def limited() -> str:
            at.append(r.clock.now())
            if len(at) == 1:
                raise RetryAfterError("slow down", retry_after=timedelta(minutes=7))
            return "ok"

        return await ctx.step.run("call", limited)

    async with rig(app) as r:
        await r.send("go")
        await r.wind(timedelta(minutes=6))
        assert len(at) == 1
        await r.wind(timedelta(minutes=2))
        assert len(at) == 2
        assert at[1] - at[0] >= timedelta(minutes=6, seconds=59)
        assert (await r.only_run())["status"] == "Completed"


async def test_a_step_may_have_its_own_retries():
    app, tries = App("a"), []

    @app.function(id="f", trigger=Event("go"), retries=0)
    async def f(ctx: Context) -> str:
        def write() -> str:
            tries.append(1)
            if len(tries) < 3:
                raise ConnectionError("down")
            return "ok"

        return await ctx.step.run("write", write, retries=Retries(max_retries=2, first_delay="1s", jitter=0))

    async with rig(app) as r:
        await r.send("go")
        await r.wind(10)
        assert (await r.only_run())["output"] == "ok"


async def test_parallel_steps_are_joined():
    app = App("a")
    bodies: list[Any] = []

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> list[int]:
        found = await asyncio.gather(*(ctx.step.run(f"s{n}", noting(bodies, n, n)) for n in range(5)))
        return [*found, await ctx.step.run("sum", lambda: sum(found))]

    async with rig(app) as r:
        await r.send("go")
        await r.wind(2)
        run = await r.only_run()
        assert (run["status"], run["output"]) == ("Completed", [0, 1, 2, 3, 4, 10])
        assert sorted(bodies) == [0, 1, 2, 3, 4]


async def test_one_of_parallel_steps_is_retried_alone():
    app, bodies = App("a"), []

    @app.function(id="f", trigger=Event("go"), retries=QUICK)
    async def f(ctx: Context) -> list[str]:
        def flaky() -> str:
            bodies.append("flaky")
            if bodies.count("flaky") < 3:
                raise ConnectionError("down")
            return "flaky"

        def solid() -> str:
            bodies.append("solid")
            return "solid"

        return list(await asyncio.gather(ctx.step.run("flaky", flaky), ctx.step.run("solid", solid)))

    async with rig(app) as r:
        await r.send("go")
        await r.wind(20)
        run = await r.only_run()
        assert (run["status"], run["output"]) == ("Completed", ["flaky", "solid"])
        assert (bodies.count("flaky"), bodies.count("solid")) == (3, 1)


async def test_the_first_of_two_branches_continues_while_the_other_still_sleeps():
    app = App("a")
    done: list[Any] = []

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> str:
        async def quick() -> str:
            await ctx.step.sleep("short", "5s")
            return await ctx.step.run("quick", noting(done, "quick", "quick"))

        async def slow() -> str:
            await ctx.step.sleep("long", "1h")
            return await ctx.step.run("slow", noting(done, "slow", "slow"))

        first, _ = await asyncio.wait(
            [asyncio.ensure_future(quick()), asyncio.ensure_future(slow())], return_when=asyncio.FIRST_COMPLETED
        )
        return first.pop().result()

    async with rig(app) as r:
        await r.send("go")
        await r.wind(10)
        run = await r.only_run()
        assert (run["status"], run["output"]) == ("Completed", "quick")
        await r.wind(timedelta(hours=2))
        assert done == ["quick"]
        assert (await r.only_run())["status"] == "Completed"


async def test_task_groups_and_sync_parallel_work():
    app = App("a")

    @app.function(id="grouped", trigger=Event("go"))
    async def grouped(ctx: Context) -> list[int]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ctx.step.run(f"s{n}", lambda n: n, n)) for n in range(3)]
        return [task.result() for task in tasks]

    @app.function(id="sync", trigger=Event("go"))
    def sync(ctx: SyncContext) -> list[int]:
        made = ctx.step.parallel([partial(ctx.step.run, f"s{n}", int, n) for n in range(3)])
        return [*made, ctx.step.run("after", lambda: 9)]

    async with rig(app) as r:
        await r.send("go")
        await r.wind(2)
        assert (await r.only_run("a-grouped"))["output"] == [0, 1, 2]
        assert (await r.only_run("a-sync"))["output"] == [0, 1, 2, 9]


async def test_loops_may_repeat_a_step_id():
    app = App("a")
    bodies: list[Any] = []

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> list[int]:
        return [await ctx.step.run("again", noting(bodies, n, n)) for n in range(4) if n != 2]

    async with rig(app) as r:
        await r.send("go")
        assert (await r.only_run())["output"] == [0, 1, 3]
        assert bodies == [0, 1, 3]


@pytest.mark.parametrize("mode", ["step", "checkpoint"])
async def test_a_loop_that_changes_while_a_run_sleeps_fails_it_instead_of_swapping_results(mode: Any):
    def version(items: list[str]) -> App:
        app = App("a")

        @app.function(id="f", trigger=Event("go"), mode=mode)
        async def f(ctx: Context) -> list[str]:
            found = [await ctx.step.run("fetch", str.upper, item) for item in items]
            await ctx.step.sleep("nap", 60)
            return found

        return app

    async with rig(version(["a", "b"])) as r:
        await r.send("go")
        await r.serve(version(["x", "a", "b"]))
        await r.send("go")
        await r.wind(120)
        whole, swapped = sorted(await r.runs(), key=lambda run: run["status"])
        assert (whole["status"], whole["output"]) == ("Completed", ["X", "A", "B"])
        assert (swapped["status"], swapped["error"]["name"]) == ("Failed", "NonDeterminismError")
        assert "use 1 of step 'fetch' in function 'a-f'" in swapped["error"]["message"]
        assert [span["output"] for span in whole["trace"] if span["name"] == "fetch"] == ["X", "A", "B"]


async def test_a_value_comes_back_from_json_the_first_time_too():
    app = App("a")
    seen: list[object] = []

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> str:
        pair = await ctx.step.run("pair", lambda: (1, 2))
        seen.append(pair)
        await ctx.step.run("next", lambda: None)
        return type(pair).__name__

    async with rig(app) as r:
        await r.send("go")
        assert (await r.only_run())["output"] == "list"
        assert all(pair == [1, 2] for pair in seen)


async def test_a_large_value_is_kept_outside_the_item_and_comes_back():
    app = App("a")
    large = "€" * 300_000

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> int:
        noise = await ctx.step.run("noise", lambda: random.Random(1).randbytes(40_000).hex())
        text = await ctx.step.run("large", lambda: large)
        await ctx.step.run("after", lambda: None)
        return len(text) + len(noise)

    async with rig(app) as r:
        await r.send("go")
        assert (await r.only_run())["output"] == 380_000
        page = await r.store.table.query(f"R#{(await r.runs())[0]['run_id']}")
        assert any("memo_ref" in item for item in page.items)


async def test_a_result_over_four_megabytes_fails_the_step_without_a_retry_and_names_it():
    app = App("a")
    bodies: list[Any] = []

    @app.function(id="f", trigger=Event("go"), retries=QUICK)
    async def f(ctx: Context) -> None:
        await ctx.step.run("huge", noting(bodies, 1, "x" * (4 * 1024 * 1024 + 1)))

    async with rig(app) as r:
        await r.send("go")
        await r.wind(60)
        run = await r.only_run()
        assert run["status"] == "Failed"
        assert "huge" in run["error"]["message"]
        assert len(bodies) == 1


@pytest.mark.crowded
async def test_a_thousand_steps_in_one_run():
    app = App("a")

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> int:
        total = 0
        for n in range(300):
            total += await ctx.step.run("n", lambda n: n, n)
        return total

    async with rig(app) as r:
        await r.send("go")
        assert (await r.only_run())["output"] == sum(range(300))


@pytest.mark.crowded
async def test_two_hundred_parallel_steps_in_one_run():
    app = App("a")
    bodies: list[Any] = []

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> int:
        return sum(await asyncio.gather(*(ctx.step.run("n", noting(bodies, n, n)) for n in range(200))))

    async with rig(app) as r:
        await r.send("go")
        await r.wind(5)
        assert (await r.only_run())["output"] == sum(range(200))
        assert sorted(bodies) == list(range(200))


@pytest.mark.parametrize("mode", ["step", "checkpoint"])
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("steps", "status"), [(20, "Completed"), (21, "Failed")])
async def test_a_run_with_more_steps_than_allowed_fails_and_says_so(
    mode: Literal["step", "checkpoint"], steps: int, status: str, *, together: bool
):
    app, bodies = App("a"), list[int]()

    @app.function(id="f", trigger=Event("go"), mode=mode, max_steps=20)
    async def f(ctx: Context) -> None:
        if together:
            await asyncio.gather(*(ctx.step.run("n", bodies.append, n) for n in range(steps)))
            return
        for n in range(steps):
            await ctx.step.run("n", bodies.append, n)

    async with rig(app) as r:
        await r.send("go")
        await r.wind(5)
        run = await r.only_run()
        assert run["status"] == status
        assert len(bodies) <= 21
        if status == "Failed":
            assert "'a-f' has more than 20 steps" in run["error"]["message"]
            assert "max_steps" in run["error"]["message"]


@pytest.mark.parametrize("given", [0, -1, 100_001, True, "20", 1.5])
def test_a_limit_of_steps_out_of_range_is_refused_at_import(given: Any):
    app = App("a")
    with pytest.raises(ConfigError, match=r"function 'f' of app 'a'.*max_steps"):
        app.function(id="f", trigger="go", max_steps=given)(print)
