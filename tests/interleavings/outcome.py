"""Judges a schedule by what it has left behind: promises 5 to 7 of `ledger.py`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from milepost_engine.core.run import RunStatus
from milepost_engine.ports import Item, Value

if TYPE_CHECKING:
    from .world import World

__all__ = ["judge_end"]


def judge_end(world: World) -> None:
    """Nothing can happen any more: is the run as it should be?"""
    hung = [thread.label for thread in world.threads]
    if hung:
        world.ledger.breaks("a message is never done with", *hung)
    elif not world.has_ended:
        records = [f"{sk[0]}:{world.words.step(sk[2:])}" for sk, _ in world.items.partition(world.records_of)]
        world.ledger.breaks("a run is left with nothing outstanding", f"status {world.status}", ", ".join(records))
    elif world.status == RunStatus.COMPLETED.value:
        _judge_output(world)
    elif world.status == RunStatus.CANCELLED.value:
        _judge_children(world)


def _judge_output(world: World) -> None:
    output = _json_of(world.header.get("output", b"{}"))
    recorded = {
        str(item["name"]): _json_of(item["memo"])
        for sk, item in world.items.partition(world.records_of)
        if sk.startswith("S#") and "memo" in item
    }
    wrong = [
        f"{name}: {value} instead of {(recorded.get(name) or {}).get('data')}"
        for name, value in sorted(output.items())
        if value is not None and (recorded.get(name) or {}).get("data") != value
    ]
    if wrong:
        world.ledger.breaks("the output has what was never recorded", *wrong)


def _judge_children(world: World) -> None:
    left = [
        f"{place[0][2:]} is {item['status']!s}"
        for place, item in world.items.items.items()
        if "given" in item and _is_child(item, world.run_id) and not RunStatus(str(item["status"])).ended
    ]
    if left:
        world.ledger.breaks("a child outlives its cancelled parent", *sorted(left))


def _is_child(header: Item, run_id: str) -> bool:
    parent = _json_of(header["given"]).get("parent")
    return bool(parent) and parent[0] == run_id


def _json_of(value: Value) -> Any:
    assert isinstance(value, bytes | str)
    return json.loads(value)
