"""What the local queue promises besides the Queue port: exact delays, backoff, dead letters, resuming."""

import asyncio
import itertools
import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from milepost_engine.adapters.clock import WoundClock
from milepost_engine.adapters.local.queue import LocalQueue, Received
from milepost_engine.adapters.local.sqlite import SqliteStore
from milepost_engine.ports import Item, Message


@pytest.fixture
def queue(store: SqliteStore, clock: WoundClock) -> LocalQueue:
    return LocalQueue(store, clock, "work")


class Consumer:
    """Remembers what it got and when; fails for the bodies that it should."""

    def __init__(self, clock: WoundClock, failing: frozenset[str] = frozenset()) -> None:
        self._clock = clock
        self._start = clock.now()
        self.failing = failing
        self.got: list[tuple[str, float, int]] = []

    async def __call__(self, received: Received) -> None:
        seconds = (self._clock.now() - self._start).total_seconds()
        self.got.append((received.body, seconds, received.receive_count))
        if received.body in self.failing:
            raise RuntimeError(f"no {received.body}")

    @property
    def bodies(self) -> list[str]:
        return [body for body, _, _ in self.got]


@pytest.fixture
def consumer(clock: WoundClock) -> Consumer:
    return Consumer(clock)


@pytest.fixture
def quiet() -> Iterator[None]:
    """Silences the log of failures that a test provokes."""
    logging.getLogger("milepost.queue").disabled = True
    yield
    logging.getLogger("milepost.queue").disabled = False


async def test_drain_handles_what_is_due_and_leaves_what_is_not(
    queue: LocalQueue, consumer: Consumer, clock: WoundClock
) -> None:
    await queue.send([Message("now"), Message("later", delay_seconds=5)])
    await queue.drain(consumer)
    assert consumer.bodies == ["now"]
    assert queue.next_due() == clock.now() + timedelta(seconds=5)
    await clock.advance(5)
    await queue.drain(consumer)
    assert consumer.bodies == ["now", "later"]
    assert queue.next_due() is None


async def test_drain_handles_what_its_handlers_send(queue: LocalQueue) -> None:
    got: list[str] = []

    async def count_down(received: Received) -> None:
        got.append(received.body)
        if received.body != "0":
            await queue.send([Message(str(int(received.body) - 1))])

    await queue.send([Message("5")])
    await queue.drain(count_down)
    assert got == ["5", "4", "3", "2", "1", "0"]


async def test_a_running_consumer_gets_each_message_at_its_moment(
    queue: LocalQueue, consumer: Consumer, clock: WoundClock
) -> None:
    running = asyncio.create_task(queue.run(consumer, concurrency=4))
    await queue.send([Message("c", 900), Message("b", 0.75), Message("a")])
    await clock.advance(0)
    await queue.send([Message("ab", 0.25)])  # earlier than the alarm that is set
    await clock.advance(1000)
    assert consumer.got == [("a", 0, 1), ("ab", 0.25, 1), ("b", 0.75, 1), ("c", 900, 1)]
    running.cancel()


async def test_a_fraction_of_a_millisecond_makes_a_message_later_never_earlier(
    store: SqliteStore, consumer: Consumer, clock: WoundClock
) -> None:
    queue = LocalQueue(store, clock, "work")
    await clock.advance(0.0004)
    await queue.send([Message("x", 0.0101)])
    await clock.advance(0.0101)
    await queue.drain(consumer)
    assert consumer.bodies == []
    await clock.advance(0.001)
    await queue.drain(consumer)
    assert consumer.bodies == ["x"]


async def test_no_more_than_the_allowed_handlers_run_at_once(queue: LocalQueue) -> None:
    running = most = 0
    full, release = asyncio.Event(), asyncio.Event()

    async def hold(_: Received) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            full.set()
        await release.wait()
        running -= 1

    consuming = asyncio.create_task(queue.run(hold, concurrency=3))
    await queue.send([Message(str(number)) for number in range(10)])
    await full.wait()
    assert queue.depth().in_flight == 3
    assert queue.depth().due == 7
    release.set()
    assert await queue.idle_until() is None
    assert most == 3
    consuming.cancel()


async def test_idle_until_returns_when_the_next_message_is_due(
    queue: LocalQueue, consumer: Consumer, clock: WoundClock
) -> None:
    running = asyncio.create_task(queue.run(consumer, concurrency=1))
    await queue.send([Message("now"), Message("then", 30)])
    assert await queue.idle_until() == clock.now() + timedelta(seconds=30)
    assert consumer.bodies == ["now"]
    running.cancel()


@pytest.mark.usefixtures("quiet")
async def test_a_failed_message_is_delivered_again_with_growing_backoff_until_it_becomes_a_dead_letter(
    queue: LocalQueue, clock: WoundClock
) -> None:
    consumer = Consumer(clock, failing=frozenset({"bad"}))
    running = asyncio.create_task(queue.run(consumer, concurrency=1))
    await queue.send([Message("bad"), Message("good")])
    await clock.advance(1000)
    moments = [seconds for body, seconds, _ in consumer.got if body == "bad"]
    assert [b - a for a, b in itertools.pairwise(moments)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert [count for body, _, count in consumer.got if body == "bad"] == list(range(1, 11))
    assert consumer.bodies.count("good") == 1
    [dead] = await queue.dead_letters()
    assert (dead.body, dead.receive_count, dead.problem) == ("bad", 10, "RuntimeError('no bad')")
    assert queue.depth().dead == 1
    assert queue.next_due() is None
    running.cancel()


@pytest.mark.usefixtures("quiet")
async def test_a_message_may_fail_more_often_than_a_float_can_double(store: SqliteStore, clock: WoundClock) -> None:
    queue = LocalQueue(store, clock, "patient", max_receives=1_100)
    consumer = Consumer(clock, failing=frozenset({"bad"}))
    await queue.send([Message("bad")])
    while (due := queue.next_due()) is not None:
        await clock.advance_to(max(due, clock.now()))
        await queue.drain(consumer)
    [dead] = await queue.dead_letters()
    assert dead.receive_count == 1_100


@pytest.mark.usefixtures("quiet")
async def test_a_redriven_message_starts_afresh(store: SqliteStore, clock: WoundClock) -> None:
    queue = LocalQueue(store, clock, "work", max_receives=1)
    consumer = Consumer(clock, failing=frozenset("ab"))
    await queue.send([Message("a"), Message("b")])
    await queue.drain(consumer)
    dead = await queue.dead_letters()
    assert sorted(letter.body for letter in dead) == ["a", "b"]
    consumer.failing = frozenset()
    assert await queue.redrive([letter.id for letter in dead if letter.body == "b"]) == 1
    await queue.drain(consumer)
    assert await queue.redrive() == 1
    assert await queue.redrive() == 0
    await queue.drain(consumer)
    assert consumer.bodies[2:] == ["b", "a"]
    assert await queue.dead_letters() == []


async def test_a_reopened_store_delivers_everything_unfinished_at_its_moment(tmp_path: Path, clock: WoundClock) -> None:
    path, consumer = tmp_path / "m.db", Consumer(clock)
    store = SqliteStore.open(path, clock=clock)
    queue = LocalQueue(store, clock, "work")
    await LocalQueue(store, clock, "other").send([Message("not mine")])
    await queue.send([Message("finished"), Message("delayed", 7)])
    await queue.drain(consumer)
    stuck = asyncio.Event()
    await queue.send([Message("in flight")])
    running = asyncio.create_task(queue.run(lambda _: stuck.wait(), concurrency=1))  # type: ignore[arg-type,return-value]
    await clock.advance(0)
    assert queue.in_flight == 1
    store.connection.close()  # as a kill would leave it: nothing is flushed or put back
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    store = SqliteStore.open(path, clock=clock)
    queue = LocalQueue(store, clock, "work")
    await queue.drain(consumer)
    await clock.advance(7)
    await queue.drain(consumer)
    assert consumer.got == [("finished", 0, 1), ("in flight", 0, 2), ("delayed", 7, 2)]
    store.close()


async def test_a_message_in_flight_when_the_process_is_killed_never_becomes_a_dead_letter_for_that(
    tmp_path: Path, clock: WoundClock
) -> None:
    consumer = Consumer(clock)
    path = tmp_path / "m.db"
    for life in range(12):
        store = SqliteStore.open(path, clock=clock)
        queue = LocalQueue(store, clock, "work")
        if life == 0:
            await queue.send([Message("long step")])
        entered, stuck = asyncio.Event(), asyncio.Event()

        async def hang(_: Received, entered: asyncio.Event = entered, stuck: asyncio.Event = stuck) -> None:
            entered.set()
            await stuck.wait()

        running = asyncio.create_task(queue.run(hang, concurrency=1))
        await entered.wait()
        store.connection.close()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    store = SqliteStore.open(path, clock=clock)
    queue = LocalQueue(store, clock, "work")
    await queue.drain(consumer)
    assert consumer.got == [("long step", 0, 2)]
    assert await queue.dead_letters() == []
    store.close()


async def test_a_cancelled_consumer_gives_back_what_it_held(queue: LocalQueue, consumer: Consumer) -> None:
    entered = asyncio.Event()

    async def hang(_: Received) -> None:
        entered.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(queue.run(hang, concurrency=2))
    await queue.send([Message("a"), Message("b")])
    await entered.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert queue.in_flight == 0
    await queue.drain(consumer)
    assert sorted(consumer.bodies) == ["a", "b"]


async def test_a_cancelled_sender_strands_nothing(queue: LocalQueue, consumer: Consumer) -> None:
    sending = asyncio.create_task(queue.send([Message("a")]))
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await queue.drain(consumer)
    assert consumer.bodies == ["a"]


async def test_a_queue_has_one_consumer(queue: LocalQueue, consumer: Consumer) -> None:
    running = asyncio.create_task(queue.run(consumer, concurrency=1))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="queue work already has a consumer"):
        await queue.drain(consumer)
    running.cancel()


async def test_table_writes_and_sends_of_one_turn_share_one_commit(store: SqliteStore, queue: LocalQueue) -> None:
    commits: list[str] = []
    store.connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    item: Item = {"pk": "p", "sk": "s"}
    await asyncio.gather(store.table.put(item), queue.send([Message("a")]), store.blobs.put("k", b"v"))
    assert commits == ["COMMIT"]


async def test_a_clock_that_is_put_right_delays_nothing_that_was_due_at_once(tmp_path: Path, quiet: None) -> None:
    """The clock was a day ahead, the process was killed, the clock was put right, and another process starts."""
    path, ahead = tmp_path / "m.db", WoundClock()
    store = SqliteStore.open(path, clock=ahead)
    queue = LocalQueue(store, ahead, "work")
    await queue.send([Message("at once"), Message("failed before"), Message("asked for later", delay_seconds=60)])
    await queue.drain(Consumer(ahead, frozenset({"failed before", "at once"})))
    await queue.send([Message("never tried")])
    store.close()
    right = WoundClock(ahead.now() - timedelta(days=1))
    store = SqliteStore.open(path, clock=right)
    queue, consumer = LocalQueue(store, right, "work"), Consumer(right)
    await queue.drain(consumer)
    assert consumer.bodies == ["never tried"]
    await right.advance(60)
    await queue.drain(consumer)
    assert sorted(consumer.bodies) == ["at once", "failed before", "never tried"]
    store.close()
