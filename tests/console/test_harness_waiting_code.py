"""Code that waits for ever ends the harness, which names what waits and where."""

from __future__ import annotations

import asyncio
import queue
import re
import threading
from typing import Any

import pytest

from milepost import App, Context, SyncContext
from milepost.testing import AwsHarness, Harness

BOTH = pytest.mark.parametrize("kind", [Harness, AwsHarness])
HERE = re.escape(__file__)
SOON = 0.3
"""Seconds of real time: the code under test waits for ever."""


def app_with(**declared: Any) -> App:
    """An app with these functions, for the event `go`."""
    app = App("a")
    for id_, handler in declared.items():
        app.function(id=id_, trigger="go", retries=0)(handler)
    return app


async def waits_in_the_function(ctx: Context) -> None:
    await ctx.step.run("charge card", lambda: 1)
    await asyncio.Event().wait()


async def waits_in_a_step(ctx: Context) -> None:
    async def ask() -> None:
        await asyncio.Event().wait()

    await ctx.step.run("ask the bank", ask)


async def waits_in_parallel(ctx: Context) -> None:
    async def lost() -> None:
        await asyncio.get_running_loop().create_future()

    await ctx.step.run("charge card", lambda: 1)
    await asyncio.gather(lost(), lost())


def waits_on_a_thread(ctx: SyncContext) -> None:
    ctx.step.run("take from the queue", lambda: queue.Queue[int]().get(timeout=60))


@BOTH
@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (waits_in_the_function, r"the function itself, outside of its steps, waits at FILE:\d+, in waits_in_the"),
        (waits_in_a_step, r"step 'ask the bank' waits at FILE:\d+, in ask: await asyncio\.Event\(\)\.wait\(\)"),
        (waits_in_parallel, r"the task 'Task-\d+' waits at FILE:\d+, in lost: "),
        (waits_on_a_thread, r"step 'take from the queue' waits at FILE:\d+, in <lambda>: "),
    ],
    ids=lambda given: given.__name__ if callable(given) else "",
)
async def test_code_that_never_answers_fails_the_test_and_is_named(kind: type[Harness], handler: Any, said: str):
    async with kind(app_with(f=handler), longest_invocation=SOON) as h:
        intro = r"(?s)^function 'a-f', run \w+, did not answer within 0\.3 s:.*"
        with pytest.raises(AssertionError, match=intro + said.replace("FILE", HERE)):
            await h.send("go")
        # As in production: an attempt that did not answer in time.
        run = await h.only_run()
        assert (run["status"], run["error"]["name"]) == ("Failed", "InvocationTimeout")


async def test_every_step_that_waits_is_named():
    async def both(ctx: Context) -> None:
        async def left() -> None:
            await asyncio.Event().wait()

        async def right() -> None:
            await asyncio.Event().wait()

        await asyncio.gather(ctx.step.run("left", left), ctx.step.run("right", right))

    async with Harness(app_with(f=both), longest_invocation=SOON) as h:
        with pytest.raises(AssertionError) as failed:
            await h.send("go")
        assert "step 'left' waits at" in str(failed.value)
        assert "step 'right' waits at" in str(failed.value)


async def test_a_step_that_waits_for_the_test_is_named_though_the_test_could_go_on():
    """`send` returns when nothing more is due, so what the test does after it comes too late."""
    opened = threading.Event()

    def door(ctx: SyncContext) -> bool:
        return ctx.step.run("wait for the door", lambda: opened.wait(60))

    async with Harness(app_with(f=door), longest_invocation=SOON) as h:
        with pytest.raises(AssertionError, match="step 'wait for the door' waits at"):
            await h.send("go")
    opened.set()


async def test_code_that_answers_in_time_is_left_alone():
    async def slow(ctx: Context) -> str:
        await asyncio.to_thread(threading.Event().wait, 0.01)
        return "done"

    async with Harness(app_with(f=slow), longest_invocation="1m") as h:
        await h.send("go")
        assert (await h.only_run())["output"] == "done"
