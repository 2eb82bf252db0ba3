"""How the dev server shares the slots in which user code runs."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from milepost_console.dev.slots import SPARE, FairSlots

from .process import DevProcess
from .served import until

APP = """
import asyncio, os
from milepost import App, Context

app = App("slots")

def note(word: str) -> None:
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(word + "\\n")

@app.function(id="slow", trigger="slow", retries=0)
async def slow(ctx: Context) -> None:
    async def wait() -> None:
        note(f"slow {ctx.run_id}")
        while not os.path.exists(os.environ["LEDGER"] + ".go"):
            await asyncio.sleep(0.05)
    await ctx.step.run("wait", wait)

@app.function(id="quick", trigger="quick", retries=0)
async def quick(ctx: Context) -> None:
    await ctx.step.run("note", note, "quick")
"""


async def test_a_function_of_which_nothing_runs_does_not_wait_for_those_that_have_all_slots():
    slots = FairSlots(4)
    assert [await slots.take("slow") for _ in range(4)] == [False] * 4
    waiting = asyncio.ensure_future(slots.take("slow"))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await asyncio.wait_for(slots.take("quick"), 1) is False
    second = asyncio.ensure_future(slots.take("quick"))
    await asyncio.sleep(0)
    assert (slots.waiting, second.done()) == (2, False)
    slots.give_back("quick")
    assert await second is True
    slots.give_back("slow")
    assert not waiting.done()  # the spare slot that `quick` has counts
    slots.give_back("quick")
    assert await waiting is True


async def test_a_free_slot_goes_to_the_function_that_has_the_fewest():
    slots = FairSlots(2)
    for _ in range(2):
        await slots.take("a")
    for number in range(SPARE):
        await slots.take(f"spare {number}")
    order: list[str] = []

    async def one(function_id: str) -> None:
        await slots.take(function_id)
        order.append(function_id)

    tasks = [asyncio.ensure_future(one(each)) for each in ("a", "a", "b")]
    await asyncio.sleep(0)
    for number in range(SPARE):
        slots.give_back(f"spare {number}")
    await asyncio.sleep(0)
    assert order == ["b"]
    for function_id in ("a", "a", "b"):
        slots.give_back(function_id)
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order == ["b", "a", "a"]


@pytest.mark.parametrize("seed", range(20))
async def test_no_slot_is_lost_or_given_twice_also_when_calls_are_cancelled(seed: int):
    draw, running, most = random.Random(seed), Counter[str](), Counter[str]()
    slots = FairSlots(3)

    async def call(function_id: str) -> None:
        await slots.take(function_id)
        try:
            running[function_id] += 1
            most["all"] = max(most["all"], running.total())
            for _ in range(draw.randrange(4)):
                await asyncio.sleep(0)
        finally:
            running[function_id] -= 1
            slots.give_back(function_id)

    tasks = []
    for _ in range(200):
        tasks.append(asyncio.ensure_future(call(draw.choice("abc"))))
        if draw.random() < 0.3:
            draw.choice(tasks).cancel()
        if draw.random() < 0.5:
            await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert running.total() == 0
    assert slots.waiting == 0
    assert most["all"] <= 3 + 2  # a spare slot for each function but one
    assert [await slots.take("z") for _ in range(3)] == [False] * 3


def test_slow_steps_hold_up_neither_quick_functions_nor_cancellations(tmp_path: Path):
    (tmp_path / "slots_app.py").write_text(APP)
    ledger = tmp_path / "ledger"
    ledger.touch()
    server = DevProcess(
        tmp_path, str(tmp_path / "slots_app.py"), "--no-poll", "--no-reload", "--concurrency", "8", LEDGER=str(ledger)
    )
    server.start()
    try:
        server.call("/e/k", [{"name": "slow"} for _ in range(30)])
        until(lambda: len(ledger.read_text().splitlines()) == 8, details=server.log)
        server.call("/e/k", {"name": "quick"})
        until(lambda: "quick" in ledger.read_text(), details=server.log)
        until(lambda: len(server.call("/api/runs?function=slots-slow&limit=100")["runs"]) == 30, details=server.log)
        begun = {line.removeprefix("slow ") for line in ledger.read_text().splitlines()}
        runs = server.call("/api/runs?function=slots-slow&limit=100")["runs"]
        waiting = [run["run_id"] for run in runs if run["run_id"] not in begun]
        assert len(waiting) == 22
        for run_id in waiting[:5]:
            server.call(f"/api/runs/{run_id}/cancel", {})
        until(lambda: "8 of slots-slow" in server.log(), details=server.log)
        (tmp_path / "ledger.go").touch()
        until(
            lambda: all(
                run["status"] != "Running" for run in server.call("/api/runs?function=slots-slow&limit=100")["runs"]
            ),
            seconds=60,
            details=server.log,
        )
        bodies = [line.removeprefix("slow ") for line in ledger.read_text().splitlines() if line != "quick"]
        assert len(bodies) == len(set(bodies)) == 25
        assert not set(waiting[:5]) & set(bodies)
        until(lambda: "no calls to your code are waiting" in server.log(), details=server.log)
    finally:
        server.stop()
