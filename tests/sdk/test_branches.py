"""Steps of one id in several branches get their own results, whatever branch comes first."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import anyio
import pytest

from milepost import App, Context, Event, SyncContext
from milepost.protocol import hash_step_id

from .fake_server import FakeServer

NAMES = ("a", "b", "c")
ORDERS = list(itertools.permutations(range(3)))


class Doors:
    """Lets branches go on in an order that is another one in each call."""

    def __init__(self, orders: Sequence[Sequence[int]]) -> None:
        self.orders = itertools.cycle(orders)
        self.passed: list[asyncio.Event] = []
        self.order: Sequence[int] = ()

    def next_call(self) -> None:
        self.order = next(self.orders)
        self.passed = [asyncio.Event() for _ in self.order]

    async def go_through(self, branch: int) -> None:
        place = self.order.index(branch)
        if place:
            await self.passed[place - 1].wait()
        self.passed[place].set()


def page(name: str, part: int) -> str:
    return f"page {part} of {name}"


Story = Callable[[Context, Callable[[str], Awaitable[list[str]]]], Awaitable[list[list[str]]]]


async def gathered(ctx: Context, branch: Callable[[str], Awaitable[list[str]]]) -> list[list[str]]:
    return list(await asyncio.gather(*map(branch, NAMES)))


async def grouped(ctx: Context, branch: Callable[[str], Awaitable[list[str]]]) -> list[list[str]]:
    async def in_group(name: str) -> list[str]:
        return await branch(name)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(in_group(name)) for name in NAMES]
    return [task.result() for task in tasks]


async def waited(ctx: Context, branch: Callable[[str], Awaitable[list[str]]]) -> list[list[str]]:
    tasks = [asyncio.ensure_future(branch(name)) for name in NAMES]
    await asyncio.wait(tasks)
    return [task.result() for task in tasks]


async def started_soon(ctx: Context, branch: Callable[[str], Awaitable[list[str]]]) -> list[list[str]]:
    found: dict[str, list[str]] = {}

    async def one(name: str) -> None:
        found[name] = await branch(name)

    async with anyio.create_task_group() as group:
        for name in NAMES:
            group.start_soon(one, name)
    return [found[name] for name in NAMES]


@pytest.mark.parametrize("orders", [*([order] for order in ORDERS), ORDERS, ORDERS[::-1]])
@pytest.mark.parametrize("mode", ["step", "checkpoint"])
@pytest.mark.parametrize("story", [gathered, grouped, waited, started_soon])
async def test_each_branch_gets_its_own_results_in_every_order(
    app: App, story: Story, mode: Any, orders: Sequence[Sequence[int]]
) -> None:
    doors, ran = Doors(orders), list[str]()

    def fetched(name: str, part: int) -> str:
        ran.append(f"{name}{part}")
        return page(name, part)

    @app.function(id="f", trigger=Event("t/a"), mode=mode)
    async def f(ctx: Context) -> list[list[str]]:
        doors.next_call()

        async def branch(name: str) -> list[str]:
            await doors.go_through(NAMES.index(name))
            first = await ctx.step.run("fetch", fetched, name, 1)
            return [first, await ctx.step.run("fetch", fetched, name, 2)]

        return await story(ctx, branch)

    server = FakeServer(app, "shop-f")
    if mode == "checkpoint":
        server.checkpointer = server
    last = await server.run()
    result = last.json if last.response.status == 200 else last.ops[-1]["data"]
    assert result == [[page(name, 1), page(name, 2)] for name in NAMES]
    assert sorted(ran) == sorted(f"{name}{part}" for name in NAMES for part in (1, 2))


@pytest.mark.parametrize("order", ORDERS)
async def test_branches_of_a_sync_function_get_their_own_results_whichever_finishes_first(
    app: App, order: Sequence[int]
) -> None:
    ran: list[str] = []

    def fetched(name: str, part: int) -> str:
        ran.append(f"{name}{part}")
        return page(name, part)

    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> list[list[str]]:
        def branch(name: str) -> list[str]:
            ctx.step.run(f"before {name}", str)
            return [ctx.step.run("fetch", fetched, name, part) for part in (1, 2)]

        return [list(each) for each in ctx.step.parallel([lambda name=name: branch(name) for name in NAMES])]  # type: ignore[misc]

    server = FakeServer(app, "shop-f")
    ranks = {f"before {NAMES[branch]}": rank for rank, branch in enumerate(order)}
    server.complete_first = lambda names: sorted(names, key=lambda name: ranks.get(name, 9))
    last = await server.run()
    result = last.json if last.response.status == 200 else last.ops[-1]["data"]
    assert result == [[page(name, 1), page(name, 2)] for name in NAMES]
    assert sorted(ran) == sorted(f"{name}{part}" for name in NAMES for part in (1, 2))


async def test_branches_within_branches_are_told_apart(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> list[list[str]]:
        async def inner(name: str) -> str:
            await asyncio.sleep(0)
            return await ctx.step.run("fetch", page, name, 1)

        async def outer(name: str) -> list[str]:
            return list(await asyncio.gather(inner(f"{name}x"), inner(f"{name}y")))

        return list(await asyncio.gather(*map(outer, NAMES)))

    server = FakeServer(app, "shop-f")
    last = await server.run()
    assert last.json == [[page(f"{name}x", 1), page(f"{name}y", 1)] for name in NAMES]
    assert len(set(server.order)) == 6


async def ids_of(app: App, function: Callable[[Context], Coroutine[Any, Any, object]]) -> list[str]:
    app.function(id="f", trigger=Event("t/a"))(function)
    server = FakeServer(app, f"{app.id}-f")
    await server.run()
    return server.order


async def test_outside_of_branches_the_ids_are_those_of_the_protocol(app: App) -> None:
    async def f(ctx: Context) -> None:
        for _ in range(2):
            await ctx.step.run("loop", str)
        await asyncio.gather(*(ctx.step.run("together", str) for _ in range(2)))
        await asyncio.wait_for(ctx.step.run("waited for", str), 5)
        for each in asyncio.as_completed([ctx.step.run("completed", str) for _ in range(2)]):
            await each
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.step.run("grouped", str))

    names = [("loop", 0), ("loop", 1), ("together", 0), ("together", 1), ("waited for", 0)]
    names += [("completed", 0), ("completed", 1), ("grouped", 0)]
    assert sorted(await ids_of(app, f)) == sorted(hash_step_id(*name) for name in names)


async def test_a_call_belongs_to_the_branch_that_made_it_not_to_the_one_that_awaits_it(app: App) -> None:
    async def f(ctx: Context) -> None:
        calls = [ctx.step.run("fetch", page, name, 1) for name in NAMES]

        async def awaits(call: Awaitable[str]) -> str:
            return await call

        got = await asyncio.gather(*(awaits(call) for call in reversed(calls)))
        assert got == [page(name, 1) for name in reversed(NAMES)]

    assert sorted(await ids_of(app, f)) == sorted(hash_step_id("fetch", use) for use in range(3))


async def test_tasks_of_libraries_and_of_bodies_are_no_branches() -> None:
    """What a connection pool or a body does differs from call to call; the ids of steps must not."""
    library: dict[str, Any] = {"__name__": "pool.connections", "asyncio": asyncio}
    exec("async def connect():\n    await asyncio.create_task(asyncio.sleep(0))\n", library)
    found: list[list[str]] = []
    for noise in (0, 1, 3):

        async def body(noise: int = noise) -> None:
            await asyncio.gather(*(asyncio.sleep(0) for _ in range(noise)))

        async def f(ctx: Context, noise: int = noise, body: Callable[[], Awaitable[None]] = body) -> None:
            for _ in range(noise):
                await library["connect"]()
            await ctx.step.run("body", body)

            async def branch() -> str:
                return await ctx.step.run("fetch", str)

            await asyncio.gather(branch(), branch())

        found.append(await ids_of(App(f"shop{noise}"), f))
    assert [len(ids) for ids in found] == [3, 3, 3]
    assert found[0] == found[1] == found[2]
