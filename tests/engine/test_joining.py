"""Parallel steps that end at the same moment, and runs that change hands: one worker continues, and none repeats."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from milepost import App, Context, Event
from milepost.protocol import Header, Request, Response
from milepost_engine.adapters.clock import WoundClock
from milepost_engine.adapters.local.invoke_inprocess import InProcessInvoker
from milepost_engine.adapters.local.sqlite import SqliteStore
from milepost_engine.adapters.random_source import SeededRandom
from milepost_engine.core.inputs import TimerKind
from milepost_engine.engine import Engine
from milepost_engine.ports import Changes, Invoker, Item, Key, Message, Page, Target
from milepost_engine.store.messages import TimerFired, WatchRun, encode

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
STEPS = ("a", "b", "c", "d")
HEADERS = {Header.SDK.value: "js:v4", "content-type": "application/json"}


class Letters:
    """A queue whose messages the test hands out."""

    def __init__(self) -> None:
        self.due: list[str] = []

    async def send(self, messages: Sequence[Message]) -> None:
        self.due += [message.body for message in messages if not message.delay_seconds]

    def take(self) -> list[str]:
        due, self.due = self.due, []
        return due


class Counted:
    """A table that counts how often a whole run is read."""

    def __init__(self, table: Any) -> None:
        self.table = table
        self.runs_read = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.table, name)

    async def query(self, partition: str, **bounds: Any) -> Page:
        self.runs_read += partition.startswith("R#")
        return await self.table.query(partition, **bounds)


class Sdk:
    """An app of another SDK, as the engine sees it: parallel steps that all end at once, then the end."""

    def __init__(self, steps: Sequence[str] = STEPS, together: int = len(STEPS)) -> None:
        self.steps = steps
        self.together = asyncio.Barrier(together)
        self.calls: list[str] = []

    async def invoke(self, target: Target, request: Request) -> Response:
        step = request.query["stepId"]
        self.calls.append(step)
        known = json.loads(request.body)["steps"]
        if step in self.steps:
            await self.together.wait()
            return Response(206, HEADERS, json.dumps([{"id": step, "op": "StepRun", "data": step}]).encode())
        if not known:
            planned = [{"id": name, "op": "StepPlanned", "displayName": name} for name in self.steps]
            return Response(206, HEADERS, json.dumps(planned).encode())
        if len(known) < len(self.steps):
            return Response(206, HEADERS, b"[]")
        return Response(200, HEADERS, json.dumps(sorted(known)).encode())


async def engines(
    count: int, store: SqliteStore, table: Any, letters: Letters, sdk: Invoker, *, ours: bool = False
) -> list[Engine]:
    app = App("a")

    @app.function(id="f", trigger=Event("go"))
    async def f(ctx: Context) -> None: ...

    manifest = app.manifest("http://a/app") | ({} if ours else {"sdk": "js:v4"})
    made = []
    for _ in range(count):
        engine = Engine.build(
            table=table, blobs=store.blobs, queue=letters, invokers={"inprocess": sdk},
            clock=WoundClock(START), random_source=SeededRandom(5),
        )  # fmt: skip
        await engine.registry.sync(manifest, Target("inprocess", "a"))
        made.append(engine)
    return made


@pytest.mark.parametrize("processes", [1, 2, 4])
async def test_the_last_of_steps_that_end_together_continues_and_no_time_passes(processes):
    store = SqliteStore.open(":memory:", clock=WoundClock(START))
    letters, sdk = Letters(), Sdk()
    made = await engines(processes, store, store.table, letters, sdk)
    await made[0].accept({"name": "go"})
    while due := letters.take():
        await asyncio.gather(*(made[n % processes].handle(body) for n, body in enumerate(due)))
    rows = (await store.table.query("F#a-f")).items
    run = await made[0].runs.load(str(rows[0]["sk"]), "a-f")
    assert run is not None
    assert run.status.value == "Completed"
    assert sorted(step for step in sdk.calls if step in STEPS) == list(STEPS)
    store.close()


async def test_a_parallel_step_does_not_read_the_whole_run():
    store = SqliteStore.open(":memory:", clock=WoundClock(START))
    letters, sdk, table = Letters(), Sdk(), Counted(store.table)
    (engine,) = await engines(1, store, table, letters, sdk)
    await engine.accept({"name": "go"})
    while due := letters.take():
        await asyncio.gather(*(engine.handle(body) for body in due))
    # At the start, for the first step's message, for the discovery that joins the four, and after each of the two
    # discoveries (another SDK may have saved steps of its own accord). More steps cost no more.
    assert table.runs_read == 5
    store.close()


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_thousand_parallel_steps_each_run_once_and_are_joined_by_one_more_call(processes):
    store = SqliteStore.open(":memory:", clock=WoundClock(START))
    steps = [f"{n:040x}" for n in range(1000)]
    letters, sdk, table = Letters(), Sdk(steps, together=50), Counted(store.table)
    made = await engines(processes, store, table, letters, sdk)
    await made[0].accept({"name": "go"})
    due: list[str] = []
    while due or (due := letters.take()):
        batch, due = due[:50], due[50:]
        await asyncio.gather(*(made[n % processes].handle(body) for n, body in enumerate(batch)))
        due += letters.take()
    rows = (await store.table.query("F#a-f")).items
    run = await made[0].runs.load(str(rows[0]["sk"]), "a-f")
    assert run is not None
    assert run.status.value == "Completed"
    assert sorted(step for step in sdk.calls if step != "step") == steps
    assert sdk.calls.count("step") == 2
    # Fifty steps come to a process at once: it reads the run for the first of them only.
    assert table.runs_read <= 20 * processes + 10
    store.close()


class Slow(Sdk):
    """One step runs until it is released."""

    def __init__(self, slow: str) -> None:
        super().__init__(together=1)
        self.slow = slow
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()

    async def invoke(self, target: Target, request: Request) -> Response:
        if request.query["stepId"] == self.slow:
            self.begun.set()
            await self.may_end.wait()
        return await super().invoke(target, request)


async def test_a_late_message_for_a_discovery_calls_no_step_that_another_worker_has_in_hand():
    store = SqliteStore.open(":memory:", clock=WoundClock(START))
    letters, sdk = Letters(), Slow("b")
    made = await engines(2, store, store.table, letters, sdk)
    await made[0].accept({"name": "go"})
    for _ in range(2):  # the event, then the discovery that plans the four
        for body in letters.take():
            await made[0].handle(body)
    jobs = {json.loads(body)["job"]: json.loads(body) for body in letters.take()}
    under_way = asyncio.create_task(made[0].handle(json.dumps(jobs["b"])))
    await sdk.begun.wait()
    for name in "acd":
        await made[0].handle(json.dumps(jobs[name]))
    sdk.begun.clear()
    late = asyncio.create_task(made[1].handle(json.dumps(jobs["b"] | {"job": "step#0"})))
    again = asyncio.create_task(sdk.begun.wait())
    await asyncio.wait({late, again}, return_when=asyncio.FIRST_COMPLETED)
    again.cancel()
    assert not sdk.begun.is_set(), "the slow step has begun a second time"
    sdk.may_end.set()
    await under_way
    assert sorted(step for step in sdk.calls if step in STEPS) == list(STEPS)
    store.close()


class Interrupted:
    """A table on which something happens just before a run changes hands."""

    def __init__(self, table: Any, happens: Callable[[], Awaitable[object]]) -> None:
        self.table = table
        self.happens = happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self.table, name)

    async def update(self, key: Key, changes: Changes, when: Any = None) -> Item:
        if "owner" in changes.set:
            await self.happens()
        return await self.table.update(key, changes, when)


class OneByOne:
    """An app of another SDK: two steps, one after the other. The first call runs until it is released."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()

    async def invoke(self, target: Target, request: Request) -> Response:
        known = json.loads(request.body)["steps"]
        if len(known) == 2:
            return Response(200, HEADERS, b"null")
        self.bodies.append(STEPS[len(known)])
        if not self.begun.is_set():
            self.begun.set()
            await self.may_end.wait()
        return Response(206, HEADERS, json.dumps([{"id": STEPS[len(known)], "op": "StepRun", "data": 1}]).encode())


async def test_who_takes_a_run_over_repeats_no_step_that_was_recorded_until_then():
    store = SqliteStore.open(":memory:", clock=WoundClock(START))
    letters, sdk = Letters(), OneByOne()
    (slow,) = await engines(1, store, store.table, letters, sdk)

    async def the_slow_worker_saves_its_step() -> None:
        sdk.may_end.set()
        while not (await store.table.query("R#" + json.loads(start)["run"])).items:  # noqa: ASYNC110 - the row shows it
            await asyncio.sleep(0)
        slow_work.cancel()

    (other,) = await engines(1, store, Interrupted(store.table, the_slow_worker_saves_its_step), letters, sdk)
    await slow.accept({"name": "go"})
    (event,) = letters.take()
    await slow.handle(event)
    (start,) = letters.take()
    slow_work = asyncio.create_task(slow.handle(start))
    await sdk.begun.wait()
    await other.handle(start, redelivered=True)
    assert sdk.bodies == ["a", "b"]
    assert (await other.runs.load(json.loads(start)["run"])).status.value == "Completed"  # type: ignore[union-attr]
    store.close()


class Gated(Sdk):
    """Each call of a step reports that it has begun, and runs until it is released."""

    def __init__(self, steps: Sequence[str]) -> None:
        super().__init__(steps, together=1)
        self.begun: dict[str, asyncio.Event] = {}
        self.may_end: dict[str, asyncio.Event] = {}
        self.counted: dict[str, int] = {}

    async def invoke(self, target: Target, request: Request) -> Response:
        step = request.query["stepId"]
        call = f"{step} {self.counted.get(step, 0)}"
        self.counted[step] = self.counted.get(step, 0) + 1
        if step in self.steps:
            self.begun.setdefault(call, asyncio.Event()).set()
            await self.may_end.setdefault(call, asyncio.Event()).wait()
        return await super().invoke(target, request)

    async def until_begun(self, call: str) -> None:
        await self.begun.setdefault(call, asyncio.Event()).wait()

    def let_go(self, call: str) -> None:
        self.may_end.setdefault(call, asyncio.Event()).set()


async def test_a_worker_whose_step_another_has_recorded_looks_whether_its_siblings_wait_for_it():
    """One process has `a` and `b` in hand, `b` is redelivered to another, which records it while `a` is open."""
    store = SqliteStore.open(":memory:", clock=WoundClock(START))
    letters, sdk = Letters(), Gated(("a", "b"))
    one, other = await engines(2, store, store.table, letters, sdk)
    await one.accept({"name": "go"})
    for _ in range(2):  # the event, then the discovery that plans the two
        for body in letters.take():
            await one.handle(body)
    job_a, job_b = sorted(letters.take(), key=lambda body: json.loads(body)["job"])
    has_a = asyncio.create_task(one.handle(job_a))
    await sdk.until_begun("a 0")
    has_b = asyncio.create_task(one.handle(job_b))
    await sdk.until_begun("b 0")
    again = asyncio.create_task(other.handle(job_b, redelivered=True))
    await sdk.until_begun("b 1")
    sdk.let_go("b 1")
    await again  # `a` is open: the worker that closes it will look
    sdk.let_go("a 0")
    await has_a  # `b` runs here: its worker will look
    sdk.let_go("b 0")
    await has_b  # too late with its result
    while due := letters.take():
        await asyncio.gather(*map(one.handle, due))
    rows = (await store.table.query("F#a-f")).items
    run = await one.runs.load(str(rows[0]["sk"]), "a-f")
    assert run is not None
    assert run.status.value == "Completed"
    store.close()


async def test_the_sweeper_leaves_a_run_alone_while_one_of_its_steps_runs_in_this_process():
    store = SqliteStore.open(":memory:", clock=WoundClock(START))
    letters, sdk = Letters(), Slow("b")
    (engine,) = await engines(1, store, store.table, letters, sdk)
    await engine.accept({"name": "go"})
    for _ in range(2):  # the event, then the discovery that plans the four
        for body in letters.take():
            await engine.handle(body)
    jobs = {json.loads(body)["job"]: body for body in letters.take()}
    under_way = asyncio.create_task(engine.handle(jobs["b"]))
    await sdk.begun.wait()
    assert isinstance(engine.clock, WoundClock)
    await engine.clock.advance(3600)
    run_id = json.loads(jobs["b"])["run"]
    await engine.handle(encode(WatchRun(run_id, "a-f")))
    assert [json.loads(body)["job"] for body in letters.take()] == []
    for name in "acd":
        await engine.handle(jobs[name])
    sdk.may_end.set()
    await under_way
    assert sorted(step for step in sdk.calls if step in STEPS) == list(STEPS)
    store.close()


async def test_the_sweeper_asks_again_for_a_step_whose_worker_is_gone():
    """The step's claim is the lost worker's: the sweeper's message succeeds it."""
    store = SqliteStore.open(":memory:", clock=WoundClock(START))
    letters, sdk = Letters(), Slow("b")
    lost, other = await engines(2, store, store.table, letters, sdk)
    await lost.accept({"name": "go"})
    for _ in range(2):
        for body in letters.take():
            await lost.handle(body)
    jobs = {json.loads(body)["job"]: body for body in letters.take()}
    gone = asyncio.create_task(lost.handle(jobs["b"]))
    await sdk.begun.wait()
    gone.cancel()
    for name in "acd":
        await other.handle(jobs[name])
    sdk.may_end.set()
    assert isinstance(other.clock, WoundClock)
    await other.clock.advance(3600)
    await other.handle(encode(WatchRun(json.loads(jobs["b"])["run"], "a-f")))
    while due := letters.take():
        for body in due:
            await other.handle(body)
    run = await other.runs.load(json.loads(jobs["b"])["run"], "a-f")
    assert run is not None
    assert run.status.value == "Completed"
    assert sdk.calls.count("b") == 1, "only a call that was answered is counted"
    store.close()


class Numbered:
    """An app of another SDK without steps: each call returns its number, the first two when they are released."""

    def __init__(self) -> None:
        self.calls = 0
        self.begun = [asyncio.Event(), asyncio.Event()]
        self.may_end = [asyncio.Event(), asyncio.Event()]

    async def invoke(self, target: Target, request: Request) -> Response:
        number = self.calls
        self.calls += 1
        self.begun[number].set()
        await self.may_end[number].wait()
        return Response(200, HEADERS, json.dumps(number).encode())


async def test_a_worker_that_has_lost_the_run_cannot_end_it():
    store = SqliteStore.open(":memory:", clock=WoundClock(START))
    letters, sdk = Letters(), Numbered()
    slow, owner = await engines(2, store, store.table, letters, sdk, ours=True)
    await slow.accept({"name": "go"})
    (event,) = letters.take()
    await slow.handle(event)
    (start,) = letters.take()
    first = asyncio.create_task(slow.handle(start))
    await sdk.begun[0].wait()
    second = asyncio.create_task(owner.handle(start, redelivered=True))
    await sdk.begun[1].wait()
    sdk.may_end[0].set()
    await first
    run = await owner.runs.load(json.loads(start)["run"], "a-f")
    assert run is not None
    assert not run.status.ended
    sdk.may_end[1].set()
    await second
    run = await owner.runs.load(json.loads(start)["run"], "a-f")
    assert run is not None
    assert run.ended is not None
    assert (run.status.value, run.ended.output) == ("Completed", b"1")
    store.close()


class Early:
    """An app of another SDK: a step beside a sleep; it returns as soon as the step is closed."""

    def __init__(self) -> None:
        self.returned = 0

    async def invoke(self, target: Target, request: Request) -> Response:
        if request.query["stepId"] == "a":
            return Response(206, HEADERS, json.dumps([{"id": "a", "op": "StepRun", "data": 1}]).encode())
        if json.loads(request.body)["steps"]:
            self.returned += 1
            return Response(200, HEADERS, b'"early"')
        step = {"id": "a", "op": "StepPlanned", "displayName": "a"}
        return Response(206, HEADERS, json.dumps([step, {"id": "nap", "op": "Sleep", "name": "1d"}]).encode())


class EndingInterrupted(Interrupted):
    """A table on which something happens just before a run ends."""

    async def update(self, key: Key, changes: Changes, when: Any = None) -> Item:
        if "outcome" in changes.set:
            await self.happens()
        return await self.table.update(key, changes, when)


@pytest.mark.parametrize("changes_hands", [False, True])
async def test_a_peek_is_made_anew_when_the_run_changes_hands_before_its_end_is_written(*, changes_hands: bool):
    store = SqliteStore.open(":memory:", clock=WoundClock(START))
    letters, sdk, runs = Letters(), Early(), list[str]()

    async def another_claims() -> None:
        if changes_hands:
            await store.table.update(Key("F#a-f", runs[0]), Changes(set={"owner": "another"}))

    (engine,) = await engines(1, store, EndingInterrupted(store.table, another_claims), letters, sdk, ours=True)
    await engine.accept({"name": "go"})
    while due := letters.take():
        for body in due:
            runs += [json.loads(body)["run"]] if "run" in json.loads(body) else []
            await engine.handle(body)
    run = await engine.runs.load(runs[0], "a-f")
    assert run is not None
    assert run.status.value == "Completed"
    assert sdk.returned == (2 if changes_hands else 1)
    store.close()


class Held:
    """A table of one process, whose next read or write of a run's records waits to be let go."""

    def __init__(self, table: Any) -> None:
        self.table = table
        self.hold = ""
        """`query` or `put`: the next one of these is held."""
        self.held = asyncio.Event()
        self.go = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.table, name)

    def next(self, kind: str) -> tuple[asyncio.Event, asyncio.Event]:
        """Hold the next such call; the events say that it waits, and let it go."""
        self.hold, self.held, self.go = kind, asyncio.Event(), asyncio.Event()
        return self.held, self.go

    async def _wait(self, kind: str, partition: object) -> None:
        if self.hold == kind and str(partition).startswith("R#"):
            self.hold, go = "", self.go
            self.held.set()
            await go.wait()

    async def query(self, partition: str, **bounds: Any) -> Page:
        await self._wait("query", partition)
        return await self.table.query(partition, **bounds)

    async def put(self, item: Any, *more: Any) -> None:
        await self._wait("put", item["pk"])
        await self.table.put(item, *more)


async def test_a_reader_that_saw_no_owner_yet_does_not_keep_another_message_from_continuing():
    """Two naps end together. The first copy of the start has read the header before the run had an owner, and is slow:

    start            reads the header ─────────────────────────────────────── reads the records
    start (copy)          claims the run, plans two naps
    nap b                                    is read here ······················ closes its nap: who owns the run?
    nap a (elsewhere)                                                    closes its nap, finds nothing new
    """
    clock = WoundClock(START)
    store = SqliteStore.open(":memory:", clock=clock)
    letters, app, bodies = Letters(), App("a"), list[str]()

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> None:
        await asyncio.gather(ctx.step.sleep("nap a", "1m"), ctx.step.sleep("nap b", "1m"))
        await ctx.step.run("charge", bodies.append, "charge")

    invoker, table = InProcessInvoker({"a": app}), Held(store.table)
    (here,) = await engines(1, store, table, letters, invoker, ours=True)
    (elsewhere,) = await engines(1, store, store.table, letters, invoker, ours=True)
    await here.accept({"name": "go"})
    (event,) = letters.take()
    await here.handle(event)
    (start,) = letters.take()

    reads, go_on_reading = table.next("query")
    slow = asyncio.create_task(here.handle(start))
    await reads.wait()
    await here.handle(start)
    run = await elsewhere.runs.load(json.loads(start)["run"], "a-f")
    assert run is not None
    assert run.owner
    naps = sorted((op.name, op.step_id) for op in run.open_ops)
    first, second = (encode(TimerFired(run.run_id, "a-f", timer=TimerKind.STEP, step_id=step)) for _, step in naps)
    later = START + timedelta(minutes=1)
    for engine in (here, elsewhere):
        assert isinstance(engine.clock, WoundClock)
        await engine.clock.advance_to(later)

    writes, go_on_writing = table.next("put")
    closing = asyncio.create_task(here.handle(second))
    await writes.wait()
    go_on_reading.set()
    await slow
    await elsewhere.handle(first)
    go_on_writing.set()
    await closing
    while due := letters.take():
        for body in due:
            await elsewhere.handle(body)
    assert bodies == ["charge"]
    ended = await elsewhere.runs.load(run.run_id, "a-f")
    assert ended is not None
    assert ended.status.value == "Completed"
    store.close()


class Peeked:
    """An app with a step that lasts, and a sleep; the peek that follows the sleep waits, and has the given answer."""

    def __init__(self, status: int, body: bytes) -> None:
        self.answer = Response(status, {Header.SDK.value: "python:v1", "content-type": "application/json"}, body)
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.in_step = asyncio.Event()
        self.peeks = 0

    async def invoke(self, target: Target, request: Request) -> Response:
        if request.query["stepId"] == "a":
            self.in_step.set()
            await asyncio.Event().wait()
        if not json.loads(request.body)["steps"]:
            ops = [
                {"id": "a", "op": "StepPlanned", "displayName": "a"},
                {"id": "nap", "op": "Sleep", "displayName": "nap", "opts": {"duration": "60s"}},
            ]
            return Response(206, self.answer.headers, json.dumps(ops).encode())
        self.peeks += 1
        self.begun.set()
        await self.may_end.wait()
        return self.answer


PEEKS = {
    "finds nothing": (206, b"[]"),
    "plans": (206, json.dumps([{"id": "x", "op": "StepPlanned", "displayName": "x"}]).encode()),
    "ends": (200, b'"over"'),
    "fails": (500, b'{"name": "Error", "message": "too early"}'),
}


async def peeked(answer: tuple[int, bytes], *, claimed_after_reading: bool) -> tuple[Any, list[Item], int]:
    """A run that somebody claims while a peek's answer is on its way, or after it was last looked at."""
    store, letters, sdk = SqliteStore.open(":memory:", clock=WoundClock(START)), Letters(), Peeked(*answer)

    async def claim() -> None:
        await store.table.update(Key("F#a-f", run_id), Changes(set={"owner": "another"}))

    class Claimed(Counted):
        """Somebody claims the run right after the header was read once the peek has answered."""

        async def get(self, key: Key) -> Item | None:
            item: Item | None = await self.table.get(key)
            if claimed_after_reading and sdk.may_end.is_set() and sdk.peeks == 1 and key.pk == "F#a-f":
                await claim()
            return item

    (engine,) = await engines(1, store, Claimed(store.table), letters, sdk, ours=True)
    await engine.accept({"name": "go"})
    (event,) = letters.take()
    await engine.handle(event)
    (start,) = letters.take()
    run_id = json.loads(start)["run"]
    working = asyncio.create_task(engine.handle(start))
    await sdk.in_step.wait()
    assert isinstance(engine.clock, WoundClock)
    await engine.clock.advance_to(START + timedelta(minutes=1))
    timer = TimerFired(run_id, "a-f", timer=TimerKind.STEP, step_id="nap")
    handling = asyncio.create_task(engine.handle(encode(timer)))
    await sdk.begun.wait()
    if not claimed_after_reading:
        await claim()
    sdk.may_end.set()
    await handling
    run = await engine.runs.load(run_id, "a-f")
    records = (await store.table.query(f"R#{run_id}")).items
    working.cancel()
    await asyncio.wait([working])
    store.close()
    return run, records, sdk.peeks


@pytest.mark.parametrize("answer", PEEKS.values(), ids=PEEKS)
async def test_the_answer_of_a_peek_changes_nothing_once_somebody_has_claimed_the_run(answer: tuple[int, bytes]):
    run, records, _ = await peeked(answer, claimed_after_reading=False)
    assert (run.status.value, run.owner) == ("Running", "another")
    # The claim on step a, the plan of the first call, and the nap.
    assert sorted(str(item["sk"])[0] for item in records) == ["C", "P", "S"]


@pytest.mark.parametrize("answer", [PEEKS["plans"], PEEKS["ends"], PEEKS["fails"]], ids=["plans", "ends", "fails"])
async def test_a_claim_right_before_the_answer_of_a_peek_is_saved_refuses_it(answer: tuple[int, bytes]):
    # The refused one reads the run again, and its next answer is that of a peek at what the new owner knows.
    run, _, peeks = await peeked(answer, claimed_after_reading=True)
    assert (run.owner, peeks >= 2) == ("another", True)
