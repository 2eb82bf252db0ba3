"""Parallel steps: plain asyncio in async functions, `step.parallel` in sync ones."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Any

import pytest

from milepost import App, Context, Event, StepError, SyncContext
from milepost.errors import CodeError
from milepost.protocol import hash_step_id

from .fake_server import FakeServer


async def name_of(name: str) -> str:
    return name


async def test_gathered_steps_are_planned_together_and_run_in_calls_of_their_own(app: App) -> None:
    ran: list[str] = []

    async def body(name: str) -> str:
        ran.append(name)
        return name

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> list[str]:
        return await asyncio.gather(*(ctx.step.run(name, body, name) for name in "abc"))

    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.reported == [
        ["StepPlanned a", "StepPlanned b", "StepPlanned c"], ["StepRun a"], ["StepRun b"], ["StepRun c"], [],
    ]  # fmt: skip
    assert (ran, server.result) == (["a", "b", "c"], ["a", "b", "c"])


async def test_a_task_group_works_like_gather(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> list[str]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ctx.step.run(name, name_of, name)) for name in "ab"]
        return [task.result() for task in tasks]

    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.reported[0] == ["StepPlanned a", "StepPlanned b"]
    assert server.result == ["a", "b"]


async def test_branches_of_several_steps_go_on_side_by_side(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> list[str]:
        async def branch(name: str) -> str:
            first = await ctx.step.run("first", name_of, f"{name}1")
            second = await ctx.step.run("second", name_of, f"{name}2")
            return first + second

        return list(await asyncio.gather(branch("a"), branch("b")))

    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.result == ["a1a2", "b1b2"]


async def test_the_winner_of_a_race_stays_the_winner_in_every_replay(app: App) -> None:
    winners: list[str] = []

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> str:
        tasks = {asyncio.ensure_future(ctx.step.run(name, name_of, name)) for name in "abc"}
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        winners.append("".join(task.result() for task in done))
        await ctx.step.run("after", int)
        await ctx.step.run("last", int)
        return winners[-1]

    server = FakeServer(app, "shop-f", complete_first=lambda _: ["b", "c", "a"])
    await server.run()
    assert server.result == "b"
    assert set(winners) == {"b"}


async def test_as_completed_gives_steps_in_the_order_in_which_they_were_finished(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> list[str]:
        return [await next_one for next_one in asyncio.as_completed([ctx.step.run(n, name_of, n) for n in "abc"])]

    server = FakeServer(app, "shop-f", complete_first=lambda _: ["c", "a", "b"])
    await server.run()
    assert server.result == ["c", "a", "b"]


async def test_a_step_that_is_cancelled_before_the_answer_is_not_reported(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> str:
        dropped = asyncio.ensure_future(ctx.step.run("dropped", name_of, "dropped"))
        await asyncio.sleep(0)
        dropped.cancel()
        return await ctx.step.run("kept", name_of, "kept")

    assert (await FakeServer(app, "shop-f").call()).reported == ["StepRun kept", "RunComplete complete"]


async def test_a_cancelled_loser_is_not_reported_again(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> str:
        approved = asyncio.ensure_future(ctx.step.wait_for_event("approved", "t/ok", timeout="1d"))
        late = asyncio.ensure_future(ctx.step.sleep("late", "1h"))
        await asyncio.wait({approved, late}, return_when=asyncio.FIRST_COMPLETED)
        approved.cancel()
        return await ctx.step.run("remind", name_of, "reminded")

    server = FakeServer(app, "shop-f")
    assert (await server.call()).reported == ["WaitForEvent approved", "Sleep late"]
    server.remember(hash_step_id("late"), None)
    assert (await server.call()).reported == ["StepRun remind", "RunComplete complete"]


async def test_a_timeout_around_a_step_does_not_delay_the_answer(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> str:
        async with asyncio.timeout(3600):
            await asyncio.wait_for(ctx.step.sleep("nap", "2h"), timeout=3600)
        return "slept"

    loop = asyncio.get_running_loop()
    began = loop.time()
    server = FakeServer(app, "shop-f")
    await server.run()
    assert loop.time() - began < 5
    assert (server.reported[0], server.result) == (["Sleep nap"], "slept")


async def test_io_of_the_functions_own_is_waited_for_while_no_step_is_found(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> str:
        await asyncio.to_thread(int)
        await asyncio.sleep(0.001)
        return await ctx.step.run("a", name_of, "a")

    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.reported == [["StepRun a", "RunComplete complete"]]


async def test_a_step_is_decided_while_other_io_is_still_going_on(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> list[Any]:
        return list(await asyncio.gather(ctx.step.sleep("nap", "1h"), asyncio.sleep(3600)))

    assert (await FakeServer(app, "shop-f").call()).reported == ["Sleep nap"]


async def test_sync_branches_are_planned_together_and_give_their_results_in_order(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> Any:
        return ctx.step.parallel([partial(ctx.step.run, n, str.upper, n) for n in "abc"])

    server = FakeServer(app, "shop-f", complete_first=lambda _: ["c", "b", "a"])
    await server.run()
    assert server.reported[0] == ["StepPlanned a", "StepPlanned b", "StepPlanned c"]
    assert server.result == ["A", "B", "C"]


async def test_sync_branches_that_use_the_same_ids_keep_their_own_steps(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> Any:
        def branch(name: str) -> str:
            first = ctx.step.run("step", str, f"{name}1")
            return first + ctx.step.run("step", str, f"{name}2")

        return ctx.step.parallel((lambda: branch("a"), lambda: branch("b")))

    server = FakeServer(app, "shop-f", complete_first=lambda names: names[::-1])
    await server.run()
    assert server.result == ["a1a2", "b1b2"]


async def test_nested_sync_branches_are_found_in_one_invocation(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> Any:
        def inner() -> tuple[str, str]:
            return ctx.step.parallel((lambda: ctx.step.run("b", str, "b"), lambda: ctx.step.run("c", str, "c")))

        return ctx.step.parallel((lambda: ctx.step.run("a", str, "a"), inner))

    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.reported[0] == ["StepPlanned a", "StepPlanned b", "StepPlanned c"]
    assert server.result == ["a", ["b", "c"]]


async def test_only_one_sync_branch_runs_at_a_time(app: App) -> None:
    running: list[str] = []

    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> None:
        def branch(name: str) -> None:
            for _ in range(3):
                running.append(name)
                assert len(running) == 1
                ctx_free()
                running.remove(name)
                ctx.step.run(name, int)

        def ctx_free() -> None:
            threading.Event().wait(0.001)

        ctx.step.parallel((lambda: branch("a"), lambda: branch("b")))

    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.result is None


async def test_a_failing_sync_branch_is_raised_after_all_have_ended(app: App) -> None:
    ended: list[str] = []

    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> str:
        def bad() -> None:
            raise ValueError("no")

        def other() -> None:
            ctx.step.run("other", int)
            ended.append("other")

        try:
            ctx.step.parallel((lambda: ctx.step.run("bad", bad), other))
        except StepError as error:
            assert ended
            return str(error)
        return "?"

    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.result == "ValueError: no"


async def test_branch_threads_end_with_the_invocation(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> None:
        ctx.step.parallel([partial(ctx.step.sleep, n, 1) for n in "abcd"])

    await FakeServer(app, "shop-f").call()
    for thread in threading.enumerate():
        if thread.name == "milepost-branch":
            thread.join(2)
    assert not [thread for thread in threading.enumerate() if thread.name == "milepost-branch"]


async def test_a_step_from_a_thread_of_the_users_own_is_refused_clearly(app: App) -> None:
    errors: list[Exception] = []

    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> None:
        def elsewhere() -> None:
            try:
                ctx.step.run("a", int)
            except CodeError as error:
                errors.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    await FakeServer(app, "shop-f").call()
    assert "step.parallel" in str(errors[0])


@pytest.mark.parametrize("count", [0, 1])
async def test_parallel_of_none_or_one_is_allowed(app: App, count: int) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> Any:
        return ctx.step.parallel([lambda: ctx.step.run("a", str, "a")] * count)

    server = FakeServer(app, "shop-f")
    await server.run()
    assert server.result == ["a"] * count
