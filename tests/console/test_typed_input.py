"""A function that is only invoked or started has a model for its data; options of steps may be given beforehand."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from pydantic import BaseModel

from milepost import App, Context, Event, SyncContext
from milepost.errors import ConfigError, EventMismatchError, RunFailedError
from milepost.testing import Harness


class Order(BaseModel):
    id: str
    cents: int = 5


async def test_its_data_is_an_instance_of_the_model_for_whoever_calls_it():
    app = App("a")

    @app.function(id="child", input=Order)
    async def child(ctx: Context[Order]) -> Order:
        assert isinstance(ctx.event.data, Order)
        return ctx.event.data

    @app.function(id="parent", triggers=[])
    def parent(ctx: SyncContext) -> list[str]:
        one = ctx.step.invoke("one", child, Order(id="1"))
        two = ctx.step.invoke("two", child, {"id": "2"})
        return [one.id, two.id]

    async with Harness(app):
        assert await (await parent.start()).result() == ["1", "2"]
        assert await (await child.start(Order(id="3"))).result() == Order(id="3")


async def test_data_that_does_not_match_is_refused_where_it_is_written():
    app = App("a")

    @app.function(id="child", input=Order, retries=0)
    async def child(ctx: Context[Order]) -> None: ...

    @app.function(id="parent", triggers=[], retries=0)
    async def parent(ctx: Context) -> None:
        await ctx.step.invoke("one", child, {"cents": "many"})

    async with Harness(app) as h:
        with pytest.raises(EventMismatchError, match=r"start of function 'a-child'.*does not match Order: .*id"):
            await child.start({"cents": 5})
        with pytest.raises(RunFailedError, match=r"invoke 'one' .*function 'a-parent', run .*does not match Order"):
            await (await parent.start()).result()
        assert [run["function_id"] for run in await h.runs()] == ["a-parent"]


def test_a_function_has_input_or_triggers_but_not_both():
    app = App("a")
    wrong: Any = app.function
    for more in ({"trigger": Event("x", Order)}, {"triggers": ["x"]}):
        with pytest.raises(ConfigError, match=r"function 'f' of app 'a'.*it has input= and a trigger"):
            wrong(id="f", input=Order, **more)(lambda _: None)


async def test_options_hold_for_the_steps_that_they_are_given_to():
    app = App("a")
    tries: list[str] = []

    def charge(name: str, *, timeout: int = 0) -> int:
        tries.append(name)
        if len(tries) < 3:
            raise ConnectionError(name)
        return timeout

    @app.function(id="f", triggers=[], retries=0)
    async def f(ctx: Context) -> int:
        return await ctx.step.options(retries=2).run("charge", charge, "card", timeout=7)

    @app.function(id="g", triggers=[], retries=0)
    def g(ctx: SyncContext) -> int:
        return ctx.step.options(timeout="1m").run("charge", functools.partial(charge, timeout=8), "card")

    async with Harness(app):
        with pytest.raises(RunFailedError, match=r"timeout= is an option of step\.run.*functools\.partial"):
            await (await f.start()).result()
        tries.extend(["", ""])
        assert await (await g.start()).result() == 8


async def test_an_option_that_is_given_twice_is_refused():
    app = App("a")

    @app.function(id="f", triggers=[], retries=0)
    async def f(ctx: Context) -> object:
        options: Any = ctx.step.options(retries=2)
        return await options.run("charge", lambda **more: more, retries=3)

    async with Harness(app):
        with pytest.raises(RunFailedError, match=r"step 'charge' of function 'a-f'.*given to step\.options and to run"):
            await (await f.start()).result()
