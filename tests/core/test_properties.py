"""Random histories: whatever is repeated, late, out of order or lost in a crash, a run keeps its promises.

The world is the smallest one that the machine can live in: records that are written where none exists, workers that
may decide on an old view of them, and user code that is a list of stages. Crashes drop everything but the records.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from milepost.protocol import DISCOVERY, Opcode
from milepost_engine.core.commands import Command, FinishRun, Invoke, OpenWait, SetTimer, StartRunFor
from milepost_engine.core.inputs import (
    Call,
    CancelRequested,
    ChildFinished,
    EventMatched,
    Input,
    InvocationFailed,
    InvocationReturned,
    ReportedOp,
    RunResumed,
    RunStarted,
    TimerDue,
    TimerKind,
)
from milepost_engine.core.machine import ACCEPTS, Decision, advance
from milepost_engine.core.retries import RetryPolicy
from milepost_engine.core.run import ClosedStep, FailedAttempt, Outcome, Plan, Record, Run, RunEnded, RunStatus
from milepost_engine.runs.requests import build_call

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
COMPLETE = ReportedOp("complete", Opcode.RUN_COMPLETE, data=b'"done"')
WAITING = (Opcode.SLEEP, Opcode.WAIT_FOR_EVENT, Opcode.INVOKE_FUNCTION)


@dataclass(frozen=True)
class Part:
    """One step of the story: its kind, and how many of its tries fail."""

    step_id: str
    kind: Opcode
    failures: int = 0

    def op(self, call: Call) -> ReportedOp:
        """What running it reports."""
        if call.attempt < self.failures:
            return ReportedOp(self.step_id, Opcode.STEP_ERROR, self.step_id, error={"name": "Error", "message": "down"})
        return ReportedOp(self.step_id, Opcode.STEP_RUN, self.step_id, data=b'"%s"' % self.step_id.encode())

    def planned(self) -> ReportedOp:
        opts: dict[str, object] = {}
        if self.kind is Opcode.SLEEP:
            opts = {"duration": "1m"}
        elif self.kind is Opcode.WAIT_FOR_EVENT:
            opts = {"event": "e", "timeout": "1h"}
        elif self.kind is Opcode.INVOKE_FUNCTION:
            opts = {"function_id": "a-g"}
        return ReportedOp(self.step_id, self.kind, self.step_id, opts=opts)


Story = tuple[tuple[Part, ...], ...]
"""Stages, one after the other; the parts of one stage are parallel."""


@st.composite
def stories(draw: st.DrawFn) -> Story:
    stages = []
    for number in range(draw(st.integers(0, 4))):
        parts = []
        for place in range(draw(st.integers(1, 3))):
            kind = draw(st.sampled_from([Opcode.STEP_PLANNED, Opcode.STEP_PLANNED, *WAITING]))
            parts.append(Part(f"s{number}.{place}", kind, draw(st.integers(0, 2))))
        stages.append(tuple(parts))
    return tuple(stages)


def answer(story: Story, call: Call, *, is_peek: bool) -> tuple[ReportedOp, ...]:
    """What user code reports: it is given the steps in `call.order` and knows nothing else."""
    given = set(call.order)
    if call.target != DISCOVERY:
        return (next(part for stage in story for part in stage if part.step_id == call.target).op(call),)
    for stage in story:
        left = [part for part in stage if part.step_id not in given]
        if left:
            alone = len(left) == len(stage) == 1 and left[0].kind is Opcode.STEP_PLANNED
            if alone and not is_peek:
                return (left[0].op(call),)
            return tuple(part.planned() for part in left)
    return (COMPLETE,)


@dataclass
class World:
    """The records that exist, and what is in progress."""

    story: Story
    now: datetime = START
    records: list[Record] = field(default_factory=list)
    pending: list[Input | Invoke] = field(default_factory=list)
    seen: list[tuple[str, ...]] = field(default_factory=list)
    bases: dict[tuple[str, ...], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.empty = Run(
            "R", "a", "a-f", RunStatus.RUNNING, ("E",), "go", START,
            retries=RetryPolicy(max_attempts=4, first_seconds=1, jitter=0), peeks=len(self.story) % 2 == 0,
        )  # fmt: skip

    def run(self, records: int | None = None) -> Run:
        """The run as a worker sees it that has read so many records."""
        run = self.empty
        for record in self.records[:records]:
            run = run.with_record(record)
        return run

    def save(self, decision: Decision) -> bool:
        """Each record where none exists; after the first that exists, nothing more."""
        run = self.run()
        for record in decision.records:
            match record:
                case ClosedStep():
                    exists = record.step_id in run.closed
                case Plan():
                    exists = record.turn < len(run.plans)
                case FailedAttempt():
                    exists = record.attempt < run.attempt_of(record.job)
                case _:
                    exists = run.status.ended
            if exists:
                return False
            self.records.append(record)
            run = run.with_record(record)
        return True

    def give(self, given: Input, *, reads: int | None = None) -> None:
        """One input, decided on a view that may be old, saved, and acted on."""
        run = self.run(reads)
        decision = advance(run, given, self.now)
        rule = ACCEPTS[run.status].get(type(given))
        assert decision.run.status in (rule.leads_to if rule else (run.status,)), "the diagram lacks this change"
        if self.save(decision):
            if isinstance(given, InvocationReturned) and given.call.target == DISCOVERY and decision.records:
                self.seen.append(given.call.order)
            self.act(decision.commands)

    def act(self, commands: tuple[Command, ...]) -> None:
        for command in commands:
            match command:
                case Invoke():
                    self.pending.append(command)
                case SetTimer():
                    self.pending.append(TimerDue(command.kind, command.step_id))
                case OpenWait():
                    self.pending.append(EventMatched(command.op.step_id, "E2", b'{"name":"e"}', self.now))
                case StartRunFor():
                    self.pending.append(ChildFinished(command.op.step_id, b'{"data":1}', failed=False))
                case _:
                    pass

    def call(self, invoke: Invoke, *, reads: int | None = None) -> Input:
        """User code is called by a worker that read the run before."""
        run = self.run(reads)
        call = build_call(run, invoke.job, invoke.attempt, self.now)
        self.bases[call.order] = len(self.records)
        return InvocationReturned(call, answer(self.story, call, is_peek=bool(run.in_flight)))

    def check(self, before: int) -> None:
        """The laws, after the records from `before` on were added."""
        run = self.run()
        steps = [record.step_id for record in self.records if isinstance(record, ClosedStep)]
        assert len(steps) == len(set(steps)), "a closed step was closed again"
        ends = [place for place, record in enumerate(self.records) if isinstance(record, RunEnded)]
        assert len(ends) <= 1, "the run ended twice"
        for record in self.records[before:]:
            if isinstance(record, Plan):
                self.seen.append(record.order)
        for order in self.seen:
            assert run.order[: len(order)] == order, "what a decision was made on has moved"
        if not run.status.ended:
            assert advance(run, RunResumed(None), self.now).commands, "nothing is outstanding, and nothing has ended"


def play(world: World, randomness: random.Random, *, moves: int) -> None:
    """Some moves at random: what is pending happens in any order, twice, late, on an old view, or never."""
    for _ in range(moves):
        before = len(world.records)
        oldest = max(0, before - 2)
        if not world.pending or randomness.random() < 0.1:
            # A crash: everything in progress is gone; the message is delivered again.
            world.pending.clear()
            world.give(RunResumed(None))
        else:
            place = randomness.randrange(len(world.pending))
            item = world.pending[place] if randomness.random() < 0.2 else world.pending.pop(place)
            if isinstance(item, Invoke):
                if randomness.random() < 0.1:
                    call = build_call(world.run(), item.job, item.attempt, world.now)
                    world.pending.append(InvocationFailed(call, {"name": "Crash", "message": "gone"}))
                else:
                    world.pending.append(world.call(item))
            elif isinstance(item, InvocationReturned | InvocationFailed) and item.call.target == DISCOVERY:
                # Its worker decides on the run as it was when it called, or has read it again (checkpoint mode).
                world.give(item, reads=randomness.choice([world.bases.get(item.call.order), None]))
            else:
                world.now += timedelta(seconds=randomness.choice([0, 30, 90]))
                world.give(item, reads=None if isinstance(item, TimerDue) else randomness.randint(oldest, before))
        world.check(before)


def finish(world: World) -> Run:
    """From here on nothing goes wrong any more: the run must come to its end."""
    world.pending.clear()
    for _ in range(400):
        run = world.run()
        if run.status.ended:
            return run
        before = len(world.records)
        if not world.pending:
            world.give(RunResumed(None))
        item = world.pending.pop(0)
        if isinstance(item, Invoke):
            world.now = max(world.now, item.at)
            item = world.call(item)
        elif isinstance(item, TimerDue) and item.kind is TimerKind.STEP:
            op = run.open_op(item.step_id)
            world.now = max(world.now, op.due_at) if op is not None and op.due_at is not None else world.now
        world.give(item)
        world.check(before)
    raise AssertionError("the run never ends")


@settings(max_examples=300, deadline=None)
@given(stories(), st.randoms(use_true_random=False), st.integers(0, 60))
def test_closed_steps_stay_ended_runs_stay_and_every_path_ends(story, randomness, moves):
    world = World(story)
    world.give(RunStarted())
    play(world, randomness, moves=moves)
    run = finish(world)
    assert run.status in {RunStatus.COMPLETED, RunStatus.FAILED}
    if run.status is RunStatus.COMPLETED:
        assert set(run.order) == {part.step_id for stage in story for part in stage}


@settings(max_examples=100, deadline=None)
@given(stories(), st.randoms(use_true_random=False), st.integers(0, 40))
def test_an_ended_run_accepts_nothing(story, randomness, moves):
    world = World(story)
    world.give(RunStarted())
    play(world, randomness, moves=moves)
    late = list(world.pending)
    if moves % 2:
        world.give(CancelRequested(Outcome.API))
    else:
        finish(world)
    ended = world.run()
    assert ended.status.ended
    for item in [*late, CancelRequested(Outcome.API), CancelRequested(Outcome.FINISH_TIMEOUT)]:
        given_late = world.call(item) if isinstance(item, Invoke) else item
        # A cancellation was decided where it was accepted; its message only repeats the end-of-run actions.
        repeats = (FinishRun(),) if isinstance(given_late, CancelRequested) else ()
        assert advance(ended, given_late, world.now) == Decision(ended, commands=repeats)


@settings(max_examples=100, deadline=None)
@given(stories(), st.randoms(use_true_random=False), st.integers(0, 40))
def test_an_input_given_twice_changes_nothing_the_second_time(story, randomness, moves):
    world = World(story)
    world.give(RunStarted())
    play(world, randomness, moves=moves)
    for item in list(world.pending):
        given_twice = world.call(item) if isinstance(item, Invoke) else item
        if isinstance(given_twice, InvocationReturned) and given_twice.call.target == DISCOVERY:
            continue  # the second answer is refused by the table, not by the machine: see the other properties
        world.give(given_twice)
        records = list(world.records)
        decision = advance(world.run(), given_twice, world.now)
        new = [r for r in decision.records if not isinstance(r, FailedAttempt)]
        assert not new, (given_twice, new)
        assert world.records == records


@settings(max_examples=100, deadline=None)
@given(stories(), st.randoms(use_true_random=False), st.integers(0, 40))
def test_deciding_twice_decides_the_same(story, randomness, moves):
    world = World(story)
    world.give(RunStarted())
    play(world, randomness, moves=moves)
    run = world.run()
    for item in list(world.pending):
        given_twice = world.call(item) if isinstance(item, Invoke) else item
        assert advance(run, given_twice, world.now) == advance(run, given_twice, world.now)
