"""Every message may come twice, side by side with itself: nothing starts twice, no body runs twice."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable

from milepost import App, Context
from milepost_engine.adapters.local.queue import Received
from milepost_engine.ports import Target
from tests.chaos.test_workers_side_by_side import Workers

from .rig import Rig, rig


def charging(bodies: Counter[str], holding: Callable[[], object] = lambda: None) -> App:
    app = App("a")

    @app.function(id="charge", trigger="order")
    async def charge(ctx: Context) -> None:
        def notify() -> None:
            bodies.update(["notify"])
            holding()

        await ctx.step.run("charge", bodies.update, ["charge"])
        await ctx.step.run("notify", notify)

    return app


async def messages(made: Rig) -> list[str]:
    """What is sent when the event is processed a second time."""
    sent: list[str] = []

    async def keep(received: Received) -> None:
        sent.append(received.body)

    await made.queue.drain(keep)
    return sent


async def test_an_event_processed_twice_sends_the_message_of_its_run_once():
    bodies = Counter[str]()
    async with rig(charging(bodies)) as made:
        read = await made.engine.accept({"name": "order"})
        await made.settle()
        await made.engine.intake.take(read.events[0])
        assert await messages(made) == []
    assert bodies == {"charge": 1, "notify": 1}


async def test_an_event_delivered_again_asks_for_a_run_that_has_begun_and_nothing_happens():
    bodies = Counter[str]()
    async with rig(charging(bodies)) as made:
        read = await made.engine.accept({"name": "order"})
        await made.settle()
        await made.engine.intake.take(read.events[0], redelivered=True)
        await made.settle()
        assert (await made.only_run())["status"] == "Completed"
    assert bodies == {"charge": 1, "notify": 1}


async def test_a_second_start_message_does_nothing_while_the_run_is_under_way_in_another_process():
    bodies, begun, gate = Counter[str](), asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold() -> None:  # in the thread of user code
        loop.call_soon_threadsafe(begun.set)
        assert gate.wait(30)

    workers = Workers(charging(bodies, hold), seed=1)
    here, elsewhere, _ = workers.engines
    await here.registry.sync(workers.app.manifest("http://local/app"), Target("inprocess", "a"))
    await here.accept({"name": "order"})
    started: list[str] = []

    async def handle(received: Received) -> None:
        started.append(received.body)
        await here.handle(received.body)

    working = asyncio.create_task(workers.queue.drain(handle))
    await begun.wait()
    assert '"start"' in started[-1]
    await elsewhere.handle(started[-1])
    gate.set()
    await working
    assert bodies == {"charge": 1, "notify": 1}
    workers.store.close()
