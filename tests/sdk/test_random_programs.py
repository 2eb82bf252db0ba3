"""A property over random programs: sequences and parallel branches, with names used again and again.

However the steps of an answer are finished, peeked at in between or checkpointed: every step gets the result of its
own body, and no body whose result was recorded runs again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milepost import App, Context, Event, SyncContext
from milepost.sending import RecordingTransport

from .fake_server import FakeServer


@dataclass(frozen=True)
class Leaf:
    name: str
    place: int


@dataclass(frozen=True)
class Group:
    parallel: bool
    members: tuple[Any, ...]


def number(tree: Any, counter: list[int]) -> Any:
    """Give every leaf a place of its own."""
    if isinstance(tree, str):
        counter[0] += 1
        return Leaf(tree, counter[0])
    parallel, members = tree
    return Group(parallel, tuple(number(member, counter) for member in members))


programs = st.recursive(
    st.sampled_from("xyz"),
    lambda inner: st.tuples(st.booleans(), st.lists(inner, min_size=1, max_size=4).map(tuple)),
    max_leaves=9,
).map(lambda tree: number(tree, [0]))


def expected(tree: Any) -> Any:
    return tree.place if isinstance(tree, Leaf) else [expected(member) for member in tree.members]


def define(app: App, program: Any, kind: str, mode: Any, ran: Counter[int]) -> None:
    def body(place: int) -> int:
        ran[place] += 1
        return place

    async def walk(ctx: Context, tree: Any) -> Any:
        if isinstance(tree, Leaf):
            return await ctx.step.run(tree.name, body, tree.place)
        if tree.parallel:
            return await asyncio.gather(*(walk(ctx, member) for member in tree.members))
        return [await walk(ctx, member) for member in tree.members]

    def walk_sync(ctx: SyncContext, tree: Any) -> Any:
        if isinstance(tree, Leaf):
            return ctx.step.run(tree.name, body, tree.place)
        if tree.parallel:
            return list(ctx.step.parallel([partial(walk_sync, ctx, member) for member in tree.members]))
        return [walk_sync(ctx, member) for member in tree.members]

    async def run(ctx: Context) -> Any:
        return await walk(ctx, program)

    def run_sync(ctx: SyncContext) -> Any:
        return walk_sync(ctx, program)

    app.function(id="f", trigger=Event("t/a"), mode=mode)(run if kind == "async" else run_sync)


async def serve(server: FakeServer, draw: Any) -> None:
    """Finish planned steps in any order, with peeks in between, until the function has returned."""
    planned: list[str] = []
    for _ in range(200):
        peek = bool(planned) and draw(st.booleans())
        if planned and not peek:
            target = planned.pop(draw(st.integers(0, len(planned) - 1)))
            called = await server.call(target)
        else:
            called = await server.call(peek=bool(planned))
        if called.response.status == 200:
            return
        for op in called.ops:
            if op["op"] == "RunComplete":
                return
            if op["op"] == "StepRun":
                server.remember(op["id"], {"data": op["data"]}, op["displayName"])
            elif op["id"] not in planned and op["id"] not in server.memos:
                planned.append(op["id"])
    raise AssertionError("the run does not end")


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("mode", ["step", "checkpoint"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(program=programs, data=st.data(), milepost=st.booleans())
def test_every_step_keeps_its_own_result_and_runs_once(
    kind: str, mode: str, program: Any, data: Any, *, milepost: bool
) -> None:
    app, ran = App("shop", transport=RecordingTransport()), Counter[int]()
    define(app, program, kind, mode, ran)
    server = FakeServer(app, "shop-f", milepost={"version": 1} if milepost else None)
    if mode == "checkpoint":
        server.checkpointer = server
    asyncio.run(serve(server, data.draw))
    assert server.result == expected(program)
    assert set(ran.values()) == {1}
