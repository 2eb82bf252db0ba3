"""One schedule: workers over one table and one queue, each call of a port made when the scheduler says so.

A *thread* is one message being handled by one worker. It stands still before a call until the scheduler lets it
continue; the call then takes effect and returns at once, and the thread runs up to its next call. What may happen next
is a list of actions whose order follows from the state alone. A schedule is therefore a list of choices, and can be
repeated from the start.

Which calls are scheduling points
 - Reads and writes of the explored run's header and records. A body begins together with the last call before it, and
   ends with the next one; leaving a thread inside a body costs no pre-emption, since a body may take any time.
 - Everything else (events, the registry, other runs, the index of waits, sending) takes effect together with the point
   before it, as in a worker that does not yield there. `Setup.every_call` makes each of these a point, too.
 - Where a worker may crash or an answer may be lost, writes and sends are points for that fault only.

Which choices are left out, and why nothing is lost
 - A message for an idle worker is delivered when the worker makes its first call: until then nobody can tell.
 - Idle workers know nothing and differ in nothing, so one of them stands for all.
 - A worker crashes only directly after it has received a message, finished one, written or sent something. A crash
   after further reads leaves the same world behind, and whatever other workers do meanwhile may as well come later.
 - A thread that was left at a point (not inside a body) is *asleep* until something happens that its next call depends
   on: until then, continuing it gives a schedule that equals one in which it was not left yet (sleep sets). That one
   has at most as many pre-emptions, so a bound on them keeps its meaning. See `Footprint` for what depends on what.
"""

from __future__ import annotations

import contextvars
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from milepost.protocol import hash_step_id
from milepost_engine.adapters.local.invoke_inprocess import InProcessInvoker
from milepost_engine.core.run import Outcome, RunStatus
from milepost_engine.engine import Engine, EngineSettings
from milepost_engine.ports import (
    MAX_DELAY_SECONDS,
    ConditionFailed,
    Item,
    Key,
    Page,
    Put,
    TransactionFailed,
    Update,
    Write,
)
from milepost_engine.store.messages import CancelRun

from .choices import actions_of, overtaken_by
from .fingerprint import Fingerprints
from .footprint import Footprint
from .handling import Handing, failure_of, handling_of
from .ledger import Finding, Ledger, perform
from .ports import Call, NoBlobs, Ports, Randomness, StandingClock
from .setting import START, Base, Sent, Setup
from .stepped_loop import SteppedLoop
from .stories import Send
from .table import Items, Place
from .threads import Action, AnswerLost, Crash, Deliver, Go, Lose, Outside, Point, Tear, Thread, Worker
from .user_code import SteppedApp
from .words import Words

__all__ = ["World"]

THREAD: contextvars.ContextVar[Thread | None] = contextvars.ContextVar("THREAD", default=None)
_MOST_RECEIVES: Final = 5
_WEEK: Final = 604_800.0
_SEED_MS: Final = 1_800_000_000_000


class World:
    """See the module. Without `base` nothing is explored: calls take effect as they come."""

    def __init__(self, setup: Setup, base: Base | None = None, *, traced: bool = False) -> None:
        self.setup = setup
        self.base = base
        self.loop = SteppedLoop()  # type: ignore[abstract]  # asyncio asks for no more than it has
        self.clock = StandingClock(base.now if base else START)
        self.items = base.items.copy(heeds=setup.conditions) if base else Items()
        self.queue: list[Sent] = list(base.queue) if base else []
        self.run_id, self.function_id = (base.run_id, base.function_id) if base else ("", "")
        self.header_place: Place = (f"F#{self.function_id}", self.run_id)
        self.records_of = f"R#{self.run_id}"
        self.words = Words(setup.story.steps, self.run_id, self.function_id)
        self.names: Counter[str] = Counter(base.names if base else ())
        self.trace: list[str] | None = [] if traced else None
        self.ledger = Ledger(dict(base.begun), excused=base.excused) if base else Ledger()
        self.left = dict(base.left) if base else setup.faults.counts()
        self.used: set[str] = set(base.used) if base else set()
        self.outside = list(base.outside) if base else []
        self.current: Thread | None = None
        self.footprint = Footprint()
        self.crashable: Worker | None = None
        self._outside_draws = 0
        self._prints = Fingerprints()
        self.repeats = False
        self.workers = [Worker(f"worker {place + 1}", self._engine()) for place in range(setup.workers)]
        perform(self)

    def _engine(self) -> Engine:
        """An engine that knows nothing yet."""
        ports = Ports(self)
        invoker = InProcessInvoker({self.setup.story.app.id: self.app()})
        engine = Engine.build(
            table=ports,
            blobs=NoBlobs(),
            queue=ports,
            invokers={"inprocess": invoker, "lambda": invoker},
            handovers={"lambda": Handing(self)},
            clock=self.clock,
            random_source=Randomness(self.draw),
            settings=EngineSettings(
                # Where the sweeper checks but no tick moves timers, the queue holds every message.
                longest_delay_seconds=_WEEK if self.setup.story.watch_after else MAX_DELAY_SECONDS,
                registry_max_age=timedelta(days=400),
            ),
        )
        invoker.checkpointer = engine.checkpointer
        if self.base is not None:
            # The registry does not change while a run is explored, so that it need not be read for each schedule.
            engine.registry._snapshot, engine.registry._read_at = self.base.snapshot, START
        return engine

    def app(self) -> SteppedApp:
        """A process that serves user code."""
        return SteppedApp(self.setup.story.app, self.loop, self.clock.now, self._calling)

    def rest(self) -> Base | None:
        """The world as it is now, to start from again; None while a message is being handled."""
        if self.threads or self.base is None:
            return None
        return replace(
            self.base,
            items=self.items.copy(heeds=self.setup.conditions),
            queue=tuple(self.queue),
            now=self.clock.moment,
            outside=tuple(self.outside),
            names=dict(self.names),
            left=dict(self.left),
            used=frozenset(self.used),
            begun=dict(self.ledger.begun),
            excused=self.ledger.excused,
        )

    def close(self) -> None:
        """Let go of what has not ended."""
        self.loop.abandon()

    # --- calls of the ports ---------------------------------------------------------------------------------------

    async def halt(self, call: Call) -> Any:
        """Wait before a call until the scheduler lets this thread continue, if there is anything to choose."""
        thread = THREAD.get()
        if thread is None or not thread.message.about_run or not self._is_point(call):
            return self._perform(call)
        point = Point(call, self.loop.create_future(), self._switches(call))
        if point.switches:
            point.after_body, thread.in_body = thread.in_body, False
        thread.points.append(point)
        return await point.done

    def _switches(self, call: Call) -> bool:
        return self.setup.every_call or call.ends_body or any(map(self._is_of_run, (*call.reads, *call.writes)))

    def _is_point(self, call: Call) -> bool:
        breakable = (call.writes or call.sends) and any(self.left[each] for each in ("crashes", "dropped", "lost"))
        return bool(breakable) or self._switches(call)

    def _is_of_run(self, place: tuple[str, str | None]) -> bool:
        partition = place[0]
        return partition == self.records_of or place == self.header_place or partition == "CLOCK"

    def _perform(self, call: Call) -> Any:
        self.footprint.note(call)
        return call.effect()

    def _calling(self, target: str) -> None:
        thread = THREAD.get()
        if thread is not None and self.trace is not None:
            self._say(f"  {thread.worker.name}, {thread.message.label}: calls user code ({self.words.step(target)})")

    def draw(self) -> tuple[str, int]:
        thread = THREAD.get()
        if thread is None:
            self._outside_draws += 1
            place = len(self.outside) if self.base is not None else "before"
            return f"outside {place}", self._outside_draws
        thread.draws += 1
        return repr(thread.identity), thread.draws

    # --- what the ports do ----------------------------------------------------------------------------------------

    def get(self, key: Key) -> Item | None:
        return self.items.get(key)

    def query(
        self, partition: str, first: str | None, last: str | None, limit: int | None, *, newest_first: bool
    ) -> Page:
        return self.items.query(partition, first, last, limit, newest_first=newest_first)

    def write(self, write: Write) -> Item:
        before = self.status
        item = self.items.write(write)
        self._notice(write, before)
        return item

    def transact(self, writes: Sequence[Write]) -> None:
        before = self.status
        self.items.transact(writes)
        for write in writes:
            self._notice(write, before)

    def enqueue(self, body: str, delay_seconds: float) -> None:
        name = self.words.message(body)
        self.names[name] += 1
        due = self.clock.now() + timedelta(seconds=delay_seconds)
        self.queue.append(Sent(name + "'" * (self.names[name] - 1), body, due, self.words.is_about_run(body)))

    def _notice(self, write: Write, before: str) -> None:
        """Tell the ledger what was recorded."""
        if isinstance(write, Put) and write.item["pk"] == self.records_of and str(write.item["sk"])[0] in "SA":
            name = str(write.item.get("name", ""))
            self.ledger.record(name)
            self.footprint.writes.add(("ledger", name))
        if isinstance(write, Update) and (write.key.pk, write.key.sk) == self.header_place:
            now = self.status
            if "outcome" in write.changes.set and before and RunStatus(before).ended:
                self._breaks("a run ends twice", f"{before}, then {now}")

    @property
    def header(self) -> Item:
        return self.items.items.get(self.header_place, {})

    @property
    def status(self) -> str:
        return str(self.header.get("status", ""))

    # --- bodies ---------------------------------------------------------------------------------------------------

    async def body(self, name: str, *, fails: bool) -> str:
        """The body of a step: it begins now, and lasts until its thread makes the next call about the run."""
        thread = THREAD.get()
        if thread is not None and not thread.message.about_run and self.status == RunStatus.CANCELLED.value:
            self._breaks("a child's step begins after its parent was cancelled", f"step {name}")
        if thread is None or not thread.message.about_run:
            return name
        place = (self.records_of, f"S#{hash_step_id(name, 0)}")
        self.footprint.reads.add(place)
        self.footprint.writes.add(("ledger", name))
        body = self.ledger.begin(name, thread, recorded=place in self.items.items)
        thread.bodies += 1
        self._say(f"    {thread.worker.name}, {thread.message.label}: BODY {name} BEGINS (number {body.number})")
        thread.in_body = True
        if self.setup.story.long_bodies:
            await self.halt(Call(lambda: f"body {name} ends", lambda: None, ends_body=True))
        if fails:
            raise RuntimeError("fails on purpose")
        # What it returns tells the delivery that ran it: a body before a crash is as if it had never been.
        return f"{name} by {hashlib.sha256(repr((thread.identity, thread.bodies)).encode()).hexdigest()[:6]}"

    def _breaks(self, rule: str, *where: str) -> None:
        self.ledger.breaks(rule, *where)

    @property
    def findings(self) -> list[Finding]:
        faults = "+".join(sorted(self.used)) or "no fault"
        return [Finding(faults, rule, where) for rule, where in self.ledger.broken]

    # --- actions --------------------------------------------------------------------------------------------------

    def actions(self) -> list[Action]:
        """What may happen next; the first is what happens when nobody interferes."""
        return actions_of(self)

    @property
    def holds_turn(self) -> bool:
        """Whether a thread is under way that could continue: taking the turn from it is a pre-emption."""
        current = self.current
        return current is not None and bool(current.points) and not current.points[0].after_body

    def take(self, action: Action, left: Footprint | None = None) -> None:
        """Let an action happen. `left`: what the call of the thread that loses its turn touches."""
        if left is not None and self.current is not None and self.setup.reduced:
            self.current.asleep = left
        self.footprint = Footprint()
        self.crashable = None
        match action:
            case Go(thread):
                self._go(thread, lost=False)
            case Lose(thread):
                self._spend("lost")
                self._go(thread, lost=True)
            case Deliver(message, worker, fault):
                self._deliver(message, worker, fault)
            case Tear(thread, place):
                self._tear(thread, place)
            case Crash(worker, fault):
                self._crash(worker, fault)
            case Outside(send):
                self._happen(send)
        self.loop.drain()
        if isinstance(self.footprint.worker, Worker):
            self.footprint.worker.known = None
        self._sweep()
        self._wake()

    def _wake(self) -> None:
        for worker in self.workers:
            for thread in worker.threads:
                if thread.asleep is not None and thread.asleep.conflicts(self.footprint):
                    thread.asleep = None

    def _spend(self, fault: str, count: int = 1) -> None:
        """Use a fault up. Others must know that there is one less, so that everything depends on it."""
        self.left[fault] -= count
        self.used.add({"crashes": "crash"}.get(fault, fault))
        self.footprint.everything = True

    def _go(self, thread: Thread, *, lost: bool) -> None:
        self.current = thread
        self.footprint.worker = thread.worker
        thread.fresh, thread.asleep = False, None
        point = thread.points.pop(0)
        known = 0 if self.repeats else self.known(thread.worker)
        token = THREAD.set(thread)
        result: object = None
        error: Exception | None = None
        try:
            result = self._perform(point.call)
        except (ConditionFailed, TransactionFailed) as problem:
            error = problem
        finally:
            THREAD.reset(token)
        if (point.call.writes or point.call.sends) and error is None:
            self.crashable = thread.worker
        if self.header_place in point.call.reads and self.has_ended:
            thread.saw_end = True
        if self.trace is not None:
            outcome = f"  → REFUSED ({self.words.refusal(error)})" if error else "  → ANSWER LOST" if lost else ""
            self._say(f"  {thread.worker.name}, {thread.message.label}: {point.call.label()}{outcome}")
        if lost:
            thread.failed_on_purpose = True
            error = AnswerLost("the answer of a write was lost")
        if not self.repeats:
            thread.history = hash((thread.history, _seen(result, error), known, self.clock.moment))
        if error is None:
            point.done.set_result(result)
        else:
            point.done.set_exception(error)

    def _tear(self, thread: Thread, place: int) -> None:
        """Read the first items of a query; the others are read when the thread continues."""
        self._spend("torn")
        self.current = thread
        thread.fresh, thread.asleep = False, None
        point = thread.points[0]
        assert point.call.torn is not None
        self._say(f"  {thread.worker.name}, {thread.message.label}: {point.call.label()}, the first {place} of them")
        rest = replace(point.call, effect=point.call.torn(place), torn=None)
        thread.points[0] = replace(point, call=rest, after_body=False)
        if not self.repeats:
            first = sorted(self.items.partition(self.records_of))[:place]
            thread.history = hash((thread.history, "torn", repr(first)))

    @property
    def has_ended(self) -> bool:
        status = self.status
        return bool(status) and RunStatus(status).ended

    def _deliver(self, message: Sent, worker: Worker, fault: str) -> None:
        self.queue.remove(message)
        self._pass_time(message)
        self.footprint.worker = worker
        if fault:
            self._spend(fault)
            copy = replace(message, receives=0 if fault == "twice" else 1, copy=f" ({fault})", waited_for=False)
            self.queue.append(copy)
        handed = replace(message, receives=message.receives + 1)
        thread = Thread(handed, worker, not worker.threads and not fault, self.clock.moment)
        self.current, self.crashable = thread, worker
        worker.threads.append(thread)
        self.footprint.everything |= not message.about_run
        marks = " (REDELIVERED)" if thread.redelivered else ""
        marks += {"": "", "twice": " – a copy stays in the queue", "again": " – it will be redelivered"}[fault]
        self._say(f"{worker.name} receives {handed.label}{marks} at +{(self.clock.moment - START).total_seconds():g} s")
        context = contextvars.copy_context()
        context.run(THREAD.set, thread)
        thread.task = self.loop.create_task(handling_of(self, worker, handed), context=context)

    def _pass_time(self, message: Sent) -> None:
        if message.due <= self.clock.now():
            return
        overtaken = overtaken_by(self, message)
        if overtaken:
            self._spend("late", len(overtaken))
            self._say(f"LATE: {', '.join(each.label for each in overtaken)}")
            self.queue = [each.returned() if each in overtaken else each for each in self.queue]
        self.clock.moment = message.due
        self.footprint.everything = True

    def _crash(self, worker: Worker, fault: str) -> None:
        self._spend(fault)
        gone = ", and nothing comes back" if fault == "dropped" else ""
        self._say(f"{worker.name} CRASHES while handling {', '.join(t.message.label for t in worker.threads)}{gone}")
        for thread in worker.threads:
            self.ledger.leave(thread)
            if not gone or thread.message.is_check:
                self._return(thread.message)
        self.workers = [Worker(each.name, self._engine()) if each is worker else each for each in self.workers]
        self.current = None

    def _return(self, message: Sent) -> None:
        """A message whose handling has failed is delivered again; a call that was handed over is reported instead."""
        if message.is_call:
            self.enqueue(failure_of(message), 0.0)
        else:
            self.queue.append(message.returned())

    def _happen(self, send: Send) -> None:
        """Something from outside: it is accepted and processed at once, by an engine of its own."""
        self.outside.remove(send)
        self._outside_draws = 0
        self.footprint.everything = True
        self._say(f"{send} is sent and processed")
        engine = self._engine()
        if send.cancels:
            cancel = CancelRun(self.run_id, self.function_id, outcome=Outcome.API)
            self.loop.create_task(engine.sender.send(cancel))
            return
        self.loop.create_task(self._process(engine, send))

    async def _process(self, engine: Engine, send: Send) -> None:
        first = len(self.queue)
        name = f"{send.event} {len(self.outside)}"
        await engine.accept(
            {"name": send.event, "data": {}, "id": name}, seed=(_SEED_MS, name.encode().ljust(10, b".")[:10])
        )
        await engine.handle(self.queue.pop(first).body)

    def _sweep(self) -> None:
        """Remove the threads that are done; the message of one that raised comes back."""
        for worker in self.workers:
            for thread in [each for each in worker.threads if each.task is not None and each.task.done()]:
                worker.threads.remove(thread)
                if worker.threads:
                    self.crashable = worker
                self.footprint.writes.update(("ledger", b.name) for b in self.ledger.running if b.by is thread)
                if not thread.has_reported:
                    self.ledger.leave(thread)
                self._finish(thread)

    def _finish(self, thread: Thread) -> None:
        assert thread.task is not None
        problem = thread.task.exception()
        outcome = f" – RAISED {problem!r}" if problem else ""
        self._say(f"  {thread.worker.name}, {thread.message.label}: done{outcome}")
        if problem is None:
            return
        if thread.message.receives < _MOST_RECEIVES:
            self._return(thread.message)
        if not isinstance(problem, AnswerLost):
            self._breaks("a handler raised", thread.message.name, repr(problem)[:200])

    # --- what the search asks -------------------------------------------------------------------------------------

    @property
    def threads(self) -> list[Thread]:
        return [thread for worker in self.workers for thread in worker.threads]

    @property
    def histories(self) -> tuple[int, ...]:
        """What the threads have seen: what a repetition of the same choices need not compute again."""
        return tuple(thread.history for thread in self.threads)

    def repeat(self, choices: Sequence[tuple[int, Footprint | None]], histories: Sequence[int]) -> None:
        """Take actions that were taken before, up to a moment at which the threads had seen this."""
        self.repeats = True
        for place, left in choices:
            self.take(self.actions()[place], left)
        self.repeats = False
        for thread, history in zip(self.threads, histories, strict=True):
            thread.history = history

    def known(self, worker: Worker) -> int:
        """What a worker knows of its runs: the one thing that is read inside the orchestrator."""
        if worker.known is None:
            live = worker.engine.orchestrator.live
            worker.known = self._prints.of(live) if live else 0
        return worker.known

    def _say(self, line: str) -> None:
        if self.trace is not None:
            self.trace.append(line)


def _seen(result: object, error: Exception | None) -> str:
    """What a thread has learned from a call."""
    if error is None:
        return repr(result)
    return repr((type(error).__name__, getattr(error, "existing", None), getattr(error, "failed", None)))
