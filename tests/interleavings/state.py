"""What a state of the explored world is: equal for worlds from which the same can happen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .threads import Worker

if TYPE_CHECKING:
    from .world import World

__all__ = ["asleep_in", "state_of"]


def state_of(world: World) -> int:
    """Equal for equal states; which threads are asleep is left out."""
    return hash((
        world.items.fingerprint,
        frozenset((message.identity, message.due, message.waited_for) for message in world.queue),
        world.clock.moment,
        tuple(sorted(_print_of(world, worker) for worker in world.workers)),
        tuple(world.left.values()),
        frozenset((body.name, body.by.body, body.by.redelivered) for body in world.ledger.running),
        len(world.outside),
    ))  # fmt: skip


def asleep_in(world: World) -> frozenset[tuple[str, int, str]]:
    """The threads that need not continue yet."""
    return frozenset(thread.identity for thread in world.threads if thread.asleep is not None)


def _print_of(world: World, worker: Worker) -> int:
    threads = frozenset(
        (
            thread.identity,
            thread.history,
            tuple(point.switches for point in thread.points),
            thread is world.current,
            thread.saw_end,
            thread.fresh,
            thread.began if world.setup.story.is_swept else None,
        )
        for thread in worker.threads
    )
    may_crash = worker is world.crashable and bool(world.left["crashes"] or world.left["dropped"])
    return hash((threads, world.known(worker), may_crash))
