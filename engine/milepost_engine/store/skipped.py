"""Skipped functions: why an event did not start a function that listens to it, stored in the event's own item.

Reasons known before the event is stored are written with it and cost no write. Reasons found later (an idempotency key
was used, the id was sent before) cost one update of that item. They expire and are erased with the event.

A repeat of the intake may find other reasons, because a function was paused or resumed in between:

    1st time    A is paused: stored with the event ── stops before it has started B
    2nd time         A is resumed: starts A and B

The reasons stored first stay. Readers leave out each function that has a run for the event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from milepost_engine.codec import loads, text
from milepost_engine.ports import AllOf, Changes, ConditionFailed, HasAttribute, Item, Key, LacksAttribute, Table

__all__ = ["EVERY_FUNCTION", "add_skipped", "skipped_by", "with_reasons"]

EVERY_FUNCTION: Final = "*"
"""Stands for all functions, where one reason holds for all of them."""
_AT_FIRST: Final = "skipped"
_LATER: Final = "skipped_later"
_MOST_FUNCTIONS: Final = 50
_MOST_CHARS: Final = 300
_REST: Final = "…"


def with_reasons(reasons: Mapping[str, str]) -> Item:
    """The attributes of the event's item for these reasons; none if there are no reasons."""
    return {_AT_FIRST: _written(reasons)} if reasons else {}


async def add_skipped(table: Table, event_id: str, reasons: Mapping[str, str]) -> None:
    """Add reasons to a stored event; only the first time, and not if the event was erased meanwhile."""
    if not reasons:
        return
    still_there = HasAttribute("event_name")
    first_time = LacksAttribute(_LATER)
    changes = Changes(set={_LATER: _written(reasons)})
    try:
        await table.update(Key(f"E#{event_id}", "E"), changes, AllOf((still_there, first_time)))
    except ConditionFailed:
        return


async def skipped_by(table: Table, event_id: str) -> dict[str, str]:
    """The stored reasons, by function."""
    item = await table.get(Key(f"E#{event_id}", "E")) or {}
    found: dict[str, str] = {}
    for name in (_AT_FIRST, _LATER):
        if name in item:
            found |= cast("Mapping[str, str]", loads(str(item[name])))
    return {EVERY_FUNCTION: found[EVERY_FUNCTION]} if EVERY_FUNCTION in found else found


def _written(reasons: Mapping[str, str]) -> str:
    """The reasons as JSON, limited in size because writes are billed by size: hundreds of functions may listen."""
    shown = {name: why if len(why) <= _MOST_CHARS else why[:_MOST_CHARS] + "…" for name, why in reasons.items()}
    rest = len(shown) - _MOST_FUNCTIONS
    if rest <= 0:
        return text(shown)
    return text(dict(list(shown.items())[:_MOST_FUNCTIONS]) | {_REST: f"{rest} more functions were skipped"})
