"""What an action touches, and which actions depend on each other.

Two actions are independent when neither disturbs the other: in either order they do the same and leave the same world
behind. They are taken to depend on each other when

 - they are of one worker, whose threads share memory;
 - one writes what the other reads or writes: an item, or what the ledger knows of a step's bodies;
 - one of them moves the clock, uses up a fault, handles a message of another run or comes from outside.

Sending commutes with everything: messages are told apart by ids that follow from what sent them, not from their order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .ports import Call

__all__ = ["Footprint"]

Cell = tuple[str, str | None]


@dataclass(slots=True)
class Footprint:
    """See the module. A read with a sort key of None is of a whole partition, which each write of an item changes."""

    worker: object = None
    reads: set[Cell] = field(default_factory=set)
    writes: set[Cell] = field(default_factory=set)
    partitions: set[Cell] = field(default_factory=set)
    everything: bool = False

    def note(self, call: Call) -> None:
        """A call has taken effect."""
        self.reads.update(call.reads)
        self.writes.update(call.writes)
        self.partitions.update((pk, None) for pk, _ in call.writes)

    def conflicts(self, other: Footprint) -> bool:
        """Whether two actions depend on each other."""
        if self.everything or other.everything or self.worker is other.worker:
            return True
        return not self.writes.isdisjoint(other.writes) or self._changes(other) or other._changes(self)

    def _changes(self, other: Footprint) -> bool:
        """Whether the other one reads what this one writes."""
        return not (self.writes.isdisjoint(other.reads) and self.partitions.isdisjoint(other.reads))
