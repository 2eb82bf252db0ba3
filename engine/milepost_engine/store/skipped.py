"""Why an event passed over functions that listen to it: kept in the event's own item, for people to read.

What is known before the event is kept goes along with its put and costs no write. What turns out later (an idempotency
key was used, the id was sent before) costs one update of that item. So it is kept, erased and let go with the event.

A repeat of the intake may find other reasons, because a function was paused or resumed between:

    1st time    A is paused: kept with the event ── stops before it has started B
    2nd time         A is resumed: starts A and B

What was kept first stands, and who reads it leaves out each function that has a run for the event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from milepost_engine.codec import loads, text
from milepost_engine.ports import AllOf, Changes, ConditionFailed, HasAttribute, Item, Key, LacksAttribute, Table

__all__ = ["EVERY_FUNCTION", "add_skipped", "put_along", "skipped_by"]

EVERY_FUNCTION: Final = "*"
"""Stands for all functions where one reason keeps all of them out."""
_AT_FIRST: Final = "skipped"
_LATER: Final = "passed_over_later"
_MOST_FUNCTIONS: Final = 50
_MOST_CHARS: Final = 300
_REST: Final = "…"


def put_along(reasons: Mapping[str, str]) -> Item:
    """The attributes of the event's item that keep reasons; none when there are none."""
    return {_AT_FIRST: _written(reasons)} if reasons else {}


async def add_skipped(table: Table, event_id: str, reasons: Mapping[str, str]) -> None:
    """Keep reasons of an event that is kept already; once, and not for one that was erased meanwhile."""
    if not reasons:
        return
    still_there = HasAttribute("event_name")
    first_to_tell = LacksAttribute(_LATER)
    changes = Changes(set={_LATER: _written(reasons)})
    try:
        await table.update(Key(f"E#{event_id}", "E"), changes, AllOf((still_there, first_to_tell)))
    except ConditionFailed:
        return


async def skipped_by(table: Table, event_id: str) -> dict[str, str]:
    """What is kept, by function."""
    item = await table.get(Key(f"E#{event_id}", "E")) or {}
    found: dict[str, str] = {}
    for name in (_AT_FIRST, _LATER):
        if name in item:
            found |= cast("Mapping[str, str]", loads(str(item[name])))
    return {EVERY_FUNCTION: found[EVERY_FUNCTION]} if EVERY_FUNCTION in found else found


def _written(reasons: Mapping[str, str]) -> str:
    """Bounded, for a write is billed by its size: an event may have hundreds of listeners."""
    shown = {name: why if len(why) <= _MOST_CHARS else why[:_MOST_CHARS] + "…" for name, why in reasons.items()}
    rest = len(shown) - _MOST_FUNCTIONS
    if rest <= 0:
        return text(shown)
    return text(dict(list(shown.items())[:_MOST_FUNCTIONS]) | {_REST: f"{rest} more functions were passed over"})
