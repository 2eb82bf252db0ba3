"""What may happen next in the explored world, in an order that follows from its state alone, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .setting import Sent
from .threads import Action, Crash, Deliver, Go, Lose, Outside, Thread, Worker

if TYPE_CHECKING:
    from .world import World

__all__ = ["actions_of", "cost_of", "overtaken_by"]


def actions_of(world: World) -> list[Action]:
    """What may happen next; the first is what happens when nobody interferes."""
    standing = [thread for thread in world.threads if thread.points]
    for thread in standing:
        if thread.fresh or not thread.points[0].switches:
            return [Go(thread), *_losses(world, [thread]), *_crashes(world, thread.worker if thread.fresh else None)]
    current = world.current if world.current in standing else None
    awake = sorted((t for t in standing if t.asleep is None and t is not current), key=lambda t: t.message.rank)
    found: list[Action] = [Go(current)] if current is not None else []
    found += map(Go, awake)
    found += _losses(world, standing)
    for message in sorted(world.queue, key=lambda m: m.rank):
        found += _deliveries(world, message)
    found += [Outside(send) for send in world.outside[:1] if send.is_due(world.items)]
    found += _crashes(world, None)
    return found


def _deliveries(world: World, message: Sent) -> list[Action]:
    if len(overtaken_by(world, message)) > world.left["late"]:
        return []
    found: list[Action] = []
    for worker in _receivers(world):
        found.append(Deliver(message, worker))
        if message.receives == 0 and not message.copy and message.about_run:
            found += [Deliver(message, worker, fault) for fault in ("twice", "again") if world.left[fault]]
    return found


def overtaken_by(world: World, message: Sent) -> list[Sent]:
    """The messages that are late if a message is delivered now."""
    if message.due <= world.clock.now():
        return []
    return [each for each in world.queue if each.waited_for and each.due < message.due]


def _receivers(world: World) -> list[Worker]:
    """The workers that differ from each other: all busy ones, and one that is idle."""
    idle = [worker for worker in world.workers if not worker.threads]
    return [worker for worker in world.workers if worker.threads] + idle[:1]


def _losses(world: World, threads: Sequence[Thread]) -> list[Action]:
    if not world.left["lost"]:
        return []
    return [Lose(thread) for thread in threads if thread.points[0].call.writes or thread.points[0].call.sends]


def _crashes(world: World, fresh: Worker | None) -> list[Action]:
    if world.left["crashes"] and not world.setup.reduced:
        return [Crash(worker) for worker in world.workers if worker.threads]
    worker = fresh or world.crashable
    return [Crash(worker)] if world.left["crashes"] and worker is not None and worker.threads else []


def cost_of(world: World, action: Action) -> int:
    """1 for a pre-emption, else 0."""
    if not world.holds_turn or isinstance(action, Crash):
        return 0
    return int(not (isinstance(action, Go | Lose) and action.thread is world.current))
