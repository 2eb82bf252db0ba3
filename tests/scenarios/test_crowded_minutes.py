"""More timers and runs than one tick can take: they leave in time, and nothing else waits for them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast

import pytest

from milepost import App, Context, Cron
from milepost_engine.codec import loads
from milepost_engine.core.inputs import TimerKind
from milepost_engine.ports import Message, Queue, Table
from milepost_engine.store.messages import (
    TIMER_SHARDS,
    MessageSender,
    MoveTimers,
    SweepRuns,
    TimerFired,
    WatchRun,
    parse,
)
from milepost_engine.timers.cursors import Cursors
from milepost_engine.timers.due_timers import DueTimers

from .rig import Rig, rig

MINUTE = timedelta(minutes=1)


class Died(Exception):
    """The process was killed."""


@dataclass
class Mortal:
    """Stands before the table or the queue, and dies at one of the calls: before it is made, or after."""

    inner: Any
    lives: list[float]
    """What is left: a half is a call that is made and whose answer is lost."""

    def __getattr__(self, name: str) -> Any:
        call: Callable[..., Awaitable[Any]] = getattr(self.inner, name)

        async def counted(*args: Any, **kwargs: Any) -> Any:
            self.lives[0] -= 1
            if self.lives[0] < 0 and self.lives[0] != -0.5:
                raise Died
            answer = await call(*args, **kwargs)
            if self.lives[0] == -0.5:
                raise Died
            return answer

        return counted


@dataclass
class Outbox:
    """A queue that only notes what is sent."""

    sent: list[Message]

    async def send(self, messages: list[Message]) -> None:
        self.sent += messages

    def take(self) -> list[MoveTimers]:
        """The requests to continue, which leave the queue."""
        read = [parse(loads(message.body)) for message in self.sent]
        self.sent = [sent for sent, message in zip(self.sent, read, strict=True) if not isinstance(message, MoveTimers)]
        return [message for message in read if isinstance(message, MoveTimers)]

    def timers(self) -> Counter[str]:
        return Counter(cast("TimerFired", parse(loads(message.body))).run_id for message in self.sent)


async def crowd(made: Rig, count: int) -> list[str]:
    """Timers that are all due half an hour from now; the clock stands where the tick sees them."""
    due, ids = made.clock.now() + timedelta(minutes=30), [f"r{n}" for n in range(count)]
    await asyncio.gather(
        *(made.engine.sender.send_at(TimerFired(each, "a-f", timer=TimerKind.BEGIN), due) for each in ids)
    )
    await made.clock.advance_to(due - 2 * MINUTE)
    await Cursors(made.store.table).read("timers", int(due.timestamp()) // 60 - 1)
    return ids


def mover(made: Rig, outbox: Outbox, lives: float = 1e9, **sizes: Any) -> DueTimers:
    left = [lives]
    table = cast("Table", Mortal(made.store.table, left))
    queue = cast("Queue", Mortal(outbox, left))
    sender = MessageSender(queue, table, made.clock, made.engine.random_source, longest_delay_seconds=60)
    return replace(made.engine.timers.due, table=table, sender=sender, cursors=Cursors(table), **sizes)


async def finish(made: Rig, outbox: Outbox, **sizes: int) -> None:
    """Deliver what the movers leave to the queue, until nothing is left."""
    for _ in range(1000):
        if not (left := outbox.take()):
            return
        for message in left:
            await mover(made, outbox, **sizes).move_rest(message, None)
    raise AssertionError("the movers never end")


@pytest.mark.crowded
async def test_a_tick_moves_one_page_of_each_partition_and_the_queue_moves_the_rest_once() -> None:
    outbox = Outbox([])
    async with rig(App("none"), longest_delay=60) as made:
        ids = await crowd(made, 1200)
        due = mover(made, outbox, page_size=20, pages_per_message=2)
        assert await due.move(made.clock.now()) == TIMER_SHARDS * 20
        assert len(outbox.sent) == TIMER_SHARDS * 21
        assert await due.move(made.clock.now()) == 0
        await finish(made, outbox, page_size=20, pages_per_message=2)
        assert outbox.timers() == Counter(ids)


@pytest.mark.crowded
async def test_crowded_timers_take_effect_at_their_moment_through_the_whole_engine() -> None:
    app, woke = App("a"), list[Any]()

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("nap", "30m")
        woke.append(made.clock.now())

    async with rig(app, longest_delay=60) as made:
        made.engine = replace(
            made.engine, timers=replace(made.engine.timers, due=replace(made.engine.timers.due, page_size=1))
        )
        begun = made.clock.now()
        for _ in range(40):
            await made.send("go")
        await made.wind(timedelta(minutes=31))
        assert woke == [begun + timedelta(minutes=30)] * 40


@pytest.mark.crowded
async def test_a_mover_killed_at_any_call_loses_no_timer_and_repeats_at_most_one_page() -> None:
    size = 2
    for lives in (n / 2 for n in range(1, 1000)):
        outbox = Outbox([])
        async with rig(App("none"), longest_delay=60) as made:
            ids = await crowd(made, 200)
            await mover(made, outbox, page_size=size).move(made.clock.now())
            killed, *others = outbox.take()
            try:
                await mover(made, outbox, lives, page_size=size, pages_per_message=2).move_rest(killed, None)
            except Died:
                ended, left = False, [killed, *others]  # the queue delivers the killed one's message again
            else:
                ended, left = True, others
            for message in left:
                await mover(made, outbox, page_size=size, pages_per_message=2).move_rest(message, None)
            await finish(made, outbox, page_size=size, pages_per_message=2)
            sent = outbox.timers()
            assert set(sent) == set(ids), lives
            assert sum(sent.values()) - len(ids) <= size, lives
        if ended:
            assert lives > 8
            return
    raise AssertionError("never reached the end")


@pytest.mark.crowded
async def test_a_tick_killed_at_any_call_loses_no_timer() -> None:
    for lives in (n / 2 for n in range(1, 1000)):
        outbox = Outbox([])
        async with rig(App("none"), longest_delay=60) as made:
            ids = await crowd(made, 50)
            try:
                await mover(made, outbox, lives, page_size=2).move(made.clock.now())
            except Died:
                ended = False
            else:
                ended = True
            await mover(made, outbox, page_size=2).move(made.clock.now())
            await finish(made, outbox, page_size=2)
            assert set(outbox.timers()) == set(ids), lives
        if ended:
            return
    raise AssertionError("never reached the end")


async def test_of_two_that_move_one_partition_one_leaves_the_rest_to_the_other() -> None:
    outbox = Outbox([])
    async with rig(App("none"), longest_delay=60) as made:
        ids = await crowd(made, 120)
        await mover(made, outbox, page_size=2).move(made.clock.now())
        both = [message for message in outbox.take() for _ in range(2)]
        await asyncio.gather(*(mover(made, outbox, page_size=2).move_rest(message, None) for message in both))
        sent = outbox.timers()
        assert set(sent) == set(ids)
        assert sum(sent.values()) - len(ids) <= 2 * TIMER_SHARDS


async def test_a_mover_whose_note_was_written_but_never_answered_continues() -> None:
    outbox, forgetful = Outbox([]), 0

    @dataclass
    class Forgetful(Mortal):
        """Writes each note twice, as a client does that has heard no answer."""

        def __getattr__(self, name: str) -> Any:
            call = getattr(self.inner, name)
            if name != "update":
                return call

            async def twice(*args: Any) -> Any:
                nonlocal forgetful
                forgetful += 1
                await call(*args)
                return await call(*args)

            return twice

    async with rig(App("none"), longest_delay=60) as made:
        ids = await crowd(made, 120)
        await mover(made, outbox, page_size=2).move(made.clock.now())
        for message in outbox.take():
            each = mover(made, outbox, page_size=2)
            await replace(each, table=cast("Table", Forgetful(made.store.table, [0]))).move_rest(message, None)
        assert outbox.timers() == Counter(ids)
        assert forgetful > TIMER_SHARDS


async def test_movers_and_ticks_stop_at_their_deadline_and_are_continued() -> None:
    outbox = Outbox([])
    async with rig(App("none"), longest_delay=60) as made:
        ids = await crowd(made, 120)
        now = made.clock.now()
        due = mover(made, outbox, page_size=2)
        assert (await due.move(now, now), outbox.sent) == (0, [])
        await due.move(now)
        left = outbox.take()
        for message in left:
            await due.move_rest(message, now)
        assert outbox.take() == left
        for message in left:
            await due.move_rest(message, now + MINUTE)
        assert outbox.timers() == Counter(ids)


async def test_runs_that_have_become_old_are_all_watched_whatever_fits_a_page() -> None:
    app, watched = App("a"), list[str]()

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("nap", "2d")

    async with rig(app) as made:
        for _ in range(25):
            await made.send("go")
        await made.clock.advance_to(made.clock.now() + timedelta(minutes=17))
        watches = replace(made.engine.timers.watches, page_size=4)
        assert await watches.sweep(made.clock.now()) == 4
        made.engine = replace(made.engine, timers=replace(made.engine.timers, watches=watches))

        async def noted(received: Any) -> None:
            message = parse(loads(received.body))
            watched.extend([message.run_id] if isinstance(message, WatchRun) else [])
            await made._handle(received)

        await made.queue.drain(noted)
        assert sorted(watched) == sorted(run["run_id"] for run in await made.runs())
        stopped = SweepRuns(function_id="a-f", first="0", last="7")
        await watches.sweep_rest(stopped, made.clock.now())
        await made.queue.drain(noted)
        assert len(watched) == 50


async def test_what_fails_in_a_tick_stops_nothing_else() -> None:
    app = App("a")

    @app.function(id="tick", trigger=Cron("* * * * *"))
    async def tick(ctx: Context) -> None: ...

    @app.function(id="nap", trigger="go")
    async def nap(ctx: Context) -> None:
        await ctx.step.sleep("nap", "20m")

    @dataclass
    class Broken(Mortal):
        """Refuses to read one kind of partition."""

        partition: str = ""

        def __getattr__(self, name: str) -> Any:
            async def call(where: Any, *args: Any, **kwargs: Any) -> Any:
                if name == "query" and str(where).startswith(self.partition):
                    raise Died(self.partition)
                return await getattr(self.inner, name)(where, *args, **kwargs)

            return call

    for part, partition in (("crons", "CRON"), ("watches", "F#"), ("due", "T#")):
        async with rig(app, longest_delay=60) as made:
            timers = made.engine.timers
            await made.send("go")
            await made.wind(timedelta(minutes=17))
            await made.clock.advance_to(made.clock.now() + MINUTE)
            broken = replace(getattr(timers, part), table=cast("Table", Broken(made.store.table, [0], partition)))
            with pytest.raises(Died, match=partition):
                await replace(timers, **{part: broken}).tick()
            await made.wind(timedelta(minutes=2))
            starts = await made.runs("a-tick")
            assert len(starts) >= 19, part
            assert (await made.only_run("a-nap"))["status"] == "Completed", part
