"""Results that would go to another use of a step's id, because the code has changed, fail the run instead."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from milepost import App, Context, Event, SyncContext
from milepost._replay.marks import mark_of

from .fake_server import FakeServer


def price(item: str, *, currency: str = "EUR") -> str:
    return f"{item} in {currency}"


def looping(items: list[str], *, is_async: bool = True, last: str = "end", fn: Callable[..., str] = price) -> App:
    app = App("shop")
    if is_async:

        @app.function(id="f", trigger=Event("t/a"))
        async def f(ctx: Context) -> list[str]:
            found = [await ctx.step.run("price", fn, item) for item in items]
            await ctx.step.run(last, str)
            return found

    else:

        @app.function(id="f", trigger=Event("t/a"))
        def g(ctx: SyncContext) -> list[str]:
            found = [ctx.step.run("price", fn, item) for item in items]
            ctx.step.run(last, str)
            return found

    return app


async def recorded(app: App, steps: int) -> FakeServer:
    """A run of which so many steps are recorded."""
    server = FakeServer(app, "shop-f")
    while len(server.order) < steps:
        called = await server.call()
        await server.save(called.ops)
    return server


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize(
    ("before", "after", "steps", "use"),
    [
        (["tea", "cake"], ["milk", "tea", "cake"], 2, 1),
        (["tea", "cake", "milk"], ["tea", "milk"], 3, 2),
        (["tea", "cake", "milk"], ["cake", "tea", "milk"], 2, 1),
        (["tea", "tea", "cake"], ["tea", "cake", "tea"], 3, 2),
    ],
    ids=["added in front", "removed", "swapped", "only the second differs"],
)
async def test_an_item_that_gets_the_result_of_another_fails_the_run(
    before: list[str], after: list[str], steps: int, use: int, *, is_async: bool
):
    server = await recorded(looping(before, is_async=is_async), steps)
    server.app = looping(after, is_async=is_async)
    called = await server.call()
    assert called.response.status == 400
    assert called.json["name"] == "NonDeterminismError"
    assert called.json["message"].startswith(
        f"use {use} of step 'price' in function 'shop-f', run {server.run_id}, was recorded with other arguments"
    )
    assert "tea" not in called.json["message"]


@pytest.mark.parametrize("is_async", [True, False])
async def test_items_that_are_added_behind_and_steps_with_one_use_may_change(*, is_async: bool):
    server = await recorded(looping(["tea", "cake"], is_async=is_async), 2)
    server.app = looping(["tea", "cake", "milk"], is_async=is_async)
    assert (await server.run()).ops[-1]["data"] == ["tea in EUR", "cake in EUR", "milk in EUR"]
    server = await recorded(looping(["tea"], is_async=is_async), 1)
    server.app = looping(["coffee"], is_async=is_async)
    assert (await server.run()).ops[-1]["data"] == ["tea in EUR"]


async def test_records_without_a_mark_and_arguments_that_say_nothing_raise_no_alarm():
    server = await recorded(looping(["tea", "cake"]), 2)
    for memo in server.memos.values():
        memo.pop("mark")
    server.app = looping(["cake", "tea"])
    assert (await server.run()).response.status == 206
    opaque: list[Any] = [object(), object()]
    server = await recorded(looping(opaque, fn=lambda item: "x"), 2)
    assert all("mark" not in memo for memo in server.memos.values())


async def test_a_branch_compares_its_own_uses():
    def branching(items: list[str]) -> App:
        app = App("shop")

        @app.function(id="f", trigger=Event("t/a"))
        async def f(ctx: Context) -> list[list[str]]:
            async def branch(name: str) -> list[str]:
                return [await ctx.step.run("price", price, f"{name} {item}") for item in items]

            return list(await asyncio.gather(branch("cold"), branch("hot")))

        return app

    server = FakeServer(branching(["tea", "cake"]), "shop-f")
    assert (await server.run()).response.status in {200, 206}
    server.app = branching(["milk", "tea", "cake"])
    called = await server.call()
    assert (called.response.status, called.json["name"]) == (400, "NonDeterminismError")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (object(), object()),
        ({"a", "b"}, {"c"}),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        ([object()], [object()]),
        ({"client": object()}, {"client": object()}),
    ],
    ids=["object", "set", "moment", "list", "dict"],
)
def test_what_has_no_form_that_lasts_says_nothing(one: object, other: object):
    assert mark_of((one,), {}) == mark_of((other,), {})
    assert mark_of((one, 7), {"x": one}) == mark_of((other, 7), {"x": other})
    assert mark_of((one, 7), {}) != mark_of((one, 8), {})


def test_a_mark_is_the_same_in_every_process_and_differs_with_every_plain_value():
    values: list[tuple[Any, ...]] = [
        (1,), ("1",), (True,), (1.0,), (None,), (1, 1), ([1, 1],), ({"a": 1},), ({"b": 1},), ({"a": [1, "\ud800"]},)
    ]  # fmt: skip
    marks = [mark_of(value, {}) for value in values] + [mark_of((), {"a": 1}), mark_of((), {"b": 1})]
    assert len(set(marks)) == len(marks)
    code = "from milepost._replay.marks import mark_of; print(mark_of(('x', {'k': [1, None]}), {'b': 1, 'a': 2.5}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == mark_of(("x", {"k": [1, None]}), {"a": 2.5, "b": 1})


def test_a_huge_argument_costs_no_more_than_a_large_one():
    assert mark_of(([[n] for n in range(10_000)],), {}) != mark_of(([[0]],), {})
