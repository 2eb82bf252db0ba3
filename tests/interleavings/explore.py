"""Explores the schedules of one story, those with the fewest pre-emptions first.

The search goes by number of pre-emptions: all schedules with none, then all with one, and so on. Coroutines cannot be
copied, so each schedule is repeated up to where it parts from others: from the last moment at which all workers were
idle, when only data made up the world. A state that was met before with at most as many pre-emptions
is not entered again, unless a thread is awake now that was asleep then: it may do what was left out.

"Complete up to n pre-emptions" therefore means: every schedule with at most n of them was run, or one that is equal to
it but for the order of independent actions. What is not a schedule here at all stands on top of `world.py`.
"""

from __future__ import annotations

import gc
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from milepost_engine.core.ids import to_ms
from milepost_engine.ports import Put, Target
from milepost_engine.store.messages import WatchRun, encode
from milepost_engine.timers.due_timers import LOOK_AHEAD
from milepost_engine.timers.watches import SWEEP_AFTER

from .choices import cost_of
from .footprint import Footprint
from .ledger import Finding
from .outcome import judge_end
from .setting import START, TICK, Base, Sent, Setup
from .state import asleep_in, state_of
from .threads import Action
from .words import Words
from .world import World

__all__ = ["Choice", "Explored", "Limits", "base_of", "explore", "words_of"]

_LONGEST: Final = 500
_COLLECT_EVERY: Final = 500

Choice = tuple[int, Footprint | None]
"""The place of an action in the list, and what the next call of the thread that loses its turn would have touched."""


class _Branch(NamedTuple):
    """A schedule to be run: the choices up to a state, what the threads had seen there, and the choice to be made.

    `base` is what the world was after the first `done` choices: only the others must be repeated.
    """

    base: Base
    done: int
    choices: tuple[Choice, ...]
    histories: tuple[int, ...]
    choice: Choice


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a search ends: after so many pre-emptions in one schedule, or seconds of processor time."""

    preemptions: int = 3
    seconds: float = 60.0


@dataclass(repr=False)
class Explored:
    """The outcome of a search. `schedules` were run to their end, `cut` met a state that was known.

    `complete`: up to how many pre-emptions nothing was left out, -1 for not even without any. `exhausted`: there are no
    schedules with more. `worlds` are fingerprints of the tables that were left behind.
    """

    setup: Setup
    schedules: int = 0
    cut: int = 0
    points: int = 0
    states: int = 0
    complete: int = -1
    exhausted: bool = False
    seconds: float = 0.0
    excused: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    writes: set[int] = field(default_factory=set)
    worlds: set[int] = field(default_factory=set)
    findings: dict[Finding, tuple[int, list[Choice]]] = field(default_factory=dict)

    def __str__(self) -> str:
        setup = self.setup
        faults = [f"{count} {name}" for name in setup.faults.__slots__ if (count := getattr(setup.faults, name))]
        rate = self.points / self.seconds if self.seconds else 0
        return (
            f"{setup.story.name}, {setup.workers} workers, faults: {', '.join(faults) or 'none'}: "
            f"{self.schedules} schedules and {self.cut} cut short, {self.states} states, {self.points} points, "
            f"{self.seconds:.1f} s ({rate:.0f} points/s); complete: {self.reach}; {self.excused} excused; "
            f"ends {dict(self.endings)}; writes {sorted(self.writes)[:6]}; {len(self.findings)} findings"
        )

    __repr__ = __str__

    @property
    def reach(self) -> str:
        if self.exhausted:
            return "all schedules"
        return f"up to {self.complete} pre-emptions" if self.complete >= 0 else "not even without pre-emptions"

    @property
    def shortest(self) -> list[tuple[Finding, int, list[Choice]]]:
        """Each finding with the schedule of the fewest pre-emptions, then decisions, that leads to it."""
        found = [(finding, level, choices) for finding, (level, choices) in self.findings.items()]
        return sorted(found, key=lambda each: (each[1], len(each[2])))


@dataclass(slots=True)
class _Way:
    """The choices that have led to where a schedule is now. `base` is what the world was after the first `done`."""

    base: Base
    done: int
    choices: list[Choice]


def explore(setup: Setup, limits: Limits) -> Explored:
    """Search the schedules of a story. A schedule ends at its first finding; the search does not."""
    search = _Search(setup, limits)
    was_enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        search.run()
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
    return search.found


class _Search:
    """See the module."""

    def __init__(self, setup: Setup, limits: Limits) -> None:
        self.setup = setup
        self.limits = limits
        self.base = base_of(setup)
        self.found = Explored(setup)
        self._seen: dict[int, list[frozenset[tuple[str, int, str]]]] = {}
        self._order = random.Random(1)
        self._levels: list[list[_Branch | None]] = [[] for _ in range(limits.preemptions + 2)]

    def run(self) -> None:
        found, began = self.found, time.process_time()
        self._levels[0].append(None)
        for level in range(self.limits.preemptions + 1):
            stack = self._levels[level]
            while stack:
                found.seconds = time.process_time() - began
                if found.seconds > self.limits.seconds:
                    return
                self._run_one(self._draw(stack), level)
                if (found.schedules + found.cut) % _COLLECT_EVERY == 0:
                    gc.collect()
                    gc.freeze()  # what is left is known states and schedules to come: it need not be scanned again
            found.complete = level
        found.exhausted = not self._levels[-1]
        found.seconds = time.process_time() - began

    def _draw(self, stack: list[_Branch | None]) -> _Branch | None:
        """The newest of the schedules to be run, or any: where time is short, both late and early turns get a share."""
        if self._order.random() < 0.5:
            place = self._order.randrange(len(stack))
            stack[place], stack[-1] = stack[-1], stack[place]
        return stack.pop()

    def _run_one(self, branch: _Branch | None, level: int) -> None:
        """Repeat the choices of a branch, then go on with the first choice each time; note the others for later."""
        world = World(self.setup, branch.base if branch else self.base)
        way = _Way(self.base, 0, [])
        try:
            if branch is not None:
                world.repeat(branch.choices[branch.done :], branch.histories)
                place, left = branch.choice
                world.take(world.actions()[place], left)
                way = _Way(branch.base, branch.done, [*branch.choices, branch.choice])
                self.found.points += len(way.choices) - way.done
            self._continue(world, way, level)
        finally:
            world.close()

    def _continue(self, world: World, way: _Way, level: int) -> None:
        while not world.ledger.broken:
            if self._is_known(world):
                self.found.cut += 1
                return
            actions = world.actions()
            if not actions:
                if any(thread.points for thread in world.threads):
                    self.found.cut += 1  # only threads that are asleep are left: an equal schedule was run
                    return
                judge_end(world)
                self.found.endings[str(world.header.get("status"))] += 1
                break
            if len(way.choices) > _LONGEST:
                world.ledger.breaks("a schedule has no end")
                break
            self._step(world, actions, way, level)
        self._note(world, way.choices, level)

    def _step(self, world: World, actions: list[Action], way: _Way, level: int) -> None:
        if (rest := world.rest()) is not None:
            way.base, way.done = rest, len(way.choices)
        held, histories = world.holds_turn, world.histories
        others = [(place, level + cost_of(world, action)) for place, action in enumerate(actions)][1:]
        world.take(actions[0])
        touched = world.footprint if held else None
        before = tuple(way.choices)
        for place, at in reversed(others):
            if at < len(self._levels):
                self._levels[at].append(
                    _Branch(way.base, way.done, before, histories, (place, touched if at > level else None))
                )
        way.choices.append((0, None))
        self.found.points += 1

    def _is_known(self, world: World) -> bool:
        """Whether a state was entered before with all threads awake that are awake now."""
        asleep = asleep_in(world)
        state = state_of(world)
        met = self._seen.get(state)
        if met is None:
            self.found.states += 1
            self._seen[state] = [asleep]
            return False
        if any(before <= asleep for before in met):
            return True
        met[:] = [before for before in met if not asleep <= before] + [asleep]
        return False

    def _note(self, world: World, choices: list[Choice], level: int) -> None:
        found = self.found
        found.schedules += 1
        found.excused += bool(world.ledger.excused)
        if not world.findings:
            found.writes.add(world.items.writes)
            found.worlds.add(world.items.fingerprint)
        for finding in world.findings:
            known = found.findings.get(finding)
            if known is None or (level, len(choices)) < (known[0], len(known[1])):
                found.findings[finding] = level, choices


def words_of(setup: Setup, choices: list[Choice]) -> list[str]:
    """A schedule in words."""
    world = World(setup, base_of(setup), traced=True)
    for place, left in choices:
        world.take(world.actions()[place], left)
    if not world.findings and not world.actions():
        judge_end(world)
    lines = [*(world.trace or ()), *(f"=> {finding}" for finding in world.findings)]
    world.close()
    return lines


def base_of(setup: Setup) -> Base:
    """The world right after the run was created. What comes before is not explored."""
    world = World(Setup(setup.story, setup.faults, workers=1))
    task = world.loop.create_task(_begin(world))
    world.loop.drain()
    run_id, function_id, snapshot = task.result()
    world.run_id, world.function_id = run_id, function_id
    words = Words(setup.story.steps, run_id, function_id)
    queue = tuple(Sent(words.message(each.body), each.body, each.due) for each in (*world.queue, *_later(world)))
    world.items.writes = 0
    names = {message.name: 1 for message in queue}
    now, sends, left = world.clock.now(), setup.story.sends, setup.faults.counts()
    return Base(run_id, function_id, world.items, queue, snapshot, now, sends, names, left)


def _later(world: World) -> list[Sent]:
    """What the timers do while the run is explored: the sweeper's check of it, and ticks."""
    story, found = world.setup.story, list[Sent]()
    if story.watch_after is not None:
        watch = encode(WatchRun(world.run_id, world.function_id, message_id="watch"))
        found.append(Sent("watch", watch, START + story.watch_after))
    for place, after in enumerate(story.ticks):
        found.append(Sent("tick", f'{TICK},"place":{place}}}', START + after))
    if story.ticks:
        # Ticks have run every minute before.
        for name, at in (("timers", to_ms(START + LOOK_AHEAD) // 60_000), ("sweep", to_ms(START - SWEEP_AFTER))):
            world.items.write(Put({"pk": "CLOCK", "sk": name, "at": at}))
    return found


async def _begin(world: World) -> tuple[str, str, object]:
    engine, story = world.workers[0].engine, world.setup.story
    target = Target("lambda" if story.reports else "inprocess", story.app.id, reports=story.reports)
    await engine.registry.sync(story.app.manifest("http://local/a"), target)
    await engine.accept({"name": "go", "data": {}}, seed=(1_800_000_000_000, b"0123456789"))
    await engine.handle(world.queue.pop().body)
    function_id = f"{story.app.id}-f"
    (run_id,) = _runs_of(world, function_id)
    if story.replays_from:
        await _drain(world)
        run_id = (await engine.operations.replay(run_id, from_step=story.replays_from)).run_id
    return run_id, function_id, await engine.registry.snapshot()


def _runs_of(world: World, function_id: str) -> list[str]:
    return [sk for pk, sk in world.items.items if pk == f"F#{function_id}"]


async def _drain(world: World) -> None:
    """Handle all messages, one after the other."""
    while world.queue:
        message = min(world.queue, key=lambda each: each.rank)
        world.queue.remove(message)
        world.clock.moment = max(world.clock.moment, message.due)
        await world.workers[0].engine.handle(message.body)
