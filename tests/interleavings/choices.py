"""What may happen next in the explored world, in an order that follows from its state alone, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from .setting import START, Sent
from .threads import Action, Crash, Deliver, Go, Lose, Outside, Tear, Thread, Worker

if TYPE_CHECKING:
    from .world import World

__all__ = ["actions_of", "cost_of", "overtaken_by"]

LONGEST: Final = timedelta(minutes=14)
"""How long a message may be handled where another worker may get the sweeper's: a Lambda ends after 15 minutes."""
LONGEST_HERE: Final = timedelta(minutes=40)
"""How long a message may be handled at the worker that gets the sweeper's; it has no limit in a dev server."""
LONGEST_RUN: Final = timedelta(hours=6)
"""By then the sweeper has brought every run to its end."""


def actions_of(world: World) -> list[Action]:
    """What may happen next; the first is what happens when nobody interferes."""
    standing = [thread for thread in world.threads if thread.points]
    for thread in standing:
        if thread.fresh or not thread.points[0].switches:
            crashes = _crashes(world, thread.worker if thread.fresh else None)
            return [Go(thread), *_losses(world, [thread]), *_tears(world, [thread]), *crashes]
    current = world.current if world.current in standing else None
    awake = sorted((t for t in standing if t.asleep is None and t is not current), key=lambda t: t.message.rank)
    found: list[Action] = [Go(current)] if current is not None else []
    found += map(Go, awake)
    found += _losses(world, standing)
    found += _tears(world, standing)
    for message in sorted(world.queue, key=lambda m: m.rank):
        found += _deliveries(world, message)
    found += [Outside(send) for send in world.outside[:1] if send.is_due(world.items)]
    found += _crashes(world, None)
    return found


def _deliveries(world: World, message: Sent) -> list[Action]:
    if len(overtaken_by(world, message)) > world.left["late"]:
        return []
    if world.setup.story.is_swept and (message.due > START + LONGEST_RUN or (message.is_tick and world.has_ended)):
        return []
    found: list[Action] = []
    for worker in _receivers(world):
        if _outlasts(world, message, worker):
            continue
        found.append(Deliver(message, worker))
        if message.receives == 0 and not message.copy and message.about_run:
            found += [Deliver(message, worker, fault) for fault in ("twice", "again") if world.left[fault]]
    return found


def overtaken_by(world: World, message: Sent) -> list[Sent]:
    """The messages that are late if a message is delivered now."""
    if message.due <= world.clock.now():
        return []
    return [each for each in world.queue if each.waited_for and each.due < message.due]


def _outlasts(world: World, message: Sent, receiver: Worker) -> bool:
    """Whether a thread would take too long if this message was delivered. Where the sweeper checks, that is limited."""
    moves = message.due > world.clock.now()
    if not world.setup.story.is_swept or not (moves or message.is_check):
        return False
    then = max(message.due, world.clock.now())
    limits = ((thread, LONGEST_HERE if thread.worker is receiver else LONGEST) for thread in world.threads)
    return any(then - thread.began > limit for thread, limit in limits)


def _receivers(world: World) -> list[Worker]:
    """The workers that differ from each other: all busy ones, and one that is idle."""
    idle = [worker for worker in world.workers if not worker.threads]
    return [worker for worker in world.workers if worker.threads] + idle[:1]


def _losses(world: World, threads: Sequence[Thread]) -> list[Action]:
    if not world.left["lost"]:
        return []
    return [Lose(thread) for thread in threads if thread.points[0].call.writes or thread.points[0].call.sends]


def _tears(world: World, threads: Sequence[Thread]) -> list[Action]:
    if not world.left["torn"]:
        return []
    return [
        Tear(thread, place)
        for thread in threads
        if thread.points[0].call.torn is not None
        for place in range(1, world.items.count(world.records_of) + 1)
    ]


def _crashes(world: World, fresh: Worker | None) -> list[Action]:
    faults = [fault for fault in ("crashes", "dropped") if world.left[fault]]
    if not faults:
        return []
    worker = fresh or world.crashable
    struck = world.workers if not world.setup.reduced else [worker] if worker is not None else []
    return [Crash(each, fault) for each in struck if each.threads for fault in faults]


def cost_of(world: World, action: Action) -> int:
    """1 for a pre-emption, else 0."""
    if not world.holds_turn or isinstance(action, Crash):
        return 0
    return int(not (isinstance(action, Go | Lose | Tear) and action.thread is world.current))
