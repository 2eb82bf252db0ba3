"""Why an event did not start a function is stored with the event, and costs nothing if there is no reason to store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast

import pytest

from milepost import App, Cancel, Context, Event
from milepost_engine.ports import Changes, Condition, Item, Key, Table
from milepost_engine.store.events import EventStore, read_events
from milepost_engine.store.skipped import add_skipped

from .rig import Rig, rig


def listening(**options: Any) -> App:
    """An app in which `large` starts only on large orders, and `once` as its options say."""
    app = App("a")

    @app.function(id="large", trigger=Event("order", if_="event.data.cents > 100"))
    async def large(ctx: Context) -> None: ...

    @app.function(id="once", trigger=Event("order"), **options)
    async def once(ctx: Context) -> None: ...

    return app


async def reasons_of(r: Rig, event_id: str) -> Mapping[str, str]:
    """What the page of an event shows, read from the table as after a restart."""
    r.engine.events.forget(event_id)
    found = await r.engine.queries.event(event_id)
    assert found is not None
    return cast("Mapping[str, str]", found["skipped"])


async def test_a_false_expression_and_a_paused_function_are_reasons_to_skip():
    async with rig(listening()) as r:
        await r.engine.registry.pause("a-once", paused=True)
        assert await reasons_of(r, await r.send("order", {"cents": 5})) == {
            "a-large": "the expression 'event.data.cents > 100' is false",
            "a-once": "the function is paused",
        }


async def test_a_reason_found_when_a_run_is_about_to_start_is_reported():
    async with rig(listening(idempotency="event.data.cart", cancel_on=[Cancel("stop", if_="async.data.x == 1")])) as r:
        assert await reasons_of(r, await r.send("order", {"cents": 500, "cart": 1})) == {}
        assert await reasons_of(r, await r.send("order", {"cents": 5, "cart": 1})) == {
            "a-large": "the expression 'event.data.cents > 100' is false",
            "a-once": "the idempotency key 'event.data.cart' was already used in the last 24 hours",
        }


async def test_an_id_that_was_sent_before_is_a_reason_for_every_function():
    async with rig(listening()) as r:
        await r.send("order", {"cents": 5}, id="7")
        assert await reasons_of(r, await r.send("order", {"cents": 5}, id="7")) == {
            "*": "the id '7' was already sent in the last 24 hours"
        }


async def test_a_function_that_has_a_run_for_the_event_is_not_shown_as_skipped_however_often_the_event_arrives():
    async with rig(listening()) as r:
        [event] = read_events(
            {"name": "order", "data": {"cents": 5}}, now=r.clock.now(), random_source=r.engine.random_source
        ).events
        await r.engine.registry.pause("a-once", paused=True)
        await r.engine.intake.take(event)
        await r.engine.registry.pause("a-once", paused=False)
        await r.engine.intake.take(event, redelivered=True)
        assert list(await reasons_of(r, event.event_id)) == ["a-large"]
        await r.engine.registry.pause("a-once", paused=True)
        await r.engine.intake.take(event, redelivered=True)
        assert list(await reasons_of(r, event.event_id)) == ["a-large"]


async def test_a_reason_that_only_a_repeat_finds_is_stored_once_and_stays():
    async with rig(listening()) as r:
        [event] = read_events(
            {"name": "order", "data": {"cents": 500}}, now=r.clock.now(), random_source=r.engine.random_source
        ).events
        # As if the first time had stopped right after the event was kept.
        await r.engine.events.put(event)
        await r.engine.registry.pause("a-once", paused=True)
        await r.engine.intake.take(event, redelivered=True)
        assert await reasons_of(r, event.event_id) == {"a-once": "the function is paused"}
        await r.engine.registry.pause("a-large", paused=True)
        await r.engine.intake.take(event, redelivered=True)
        assert await reasons_of(r, event.event_id) == {"a-once": "the function is paused"}


async def test_the_reasons_are_erased_with_their_event_and_never_come_back():
    async with rig(listening(idempotency="event.data.cart")) as r:
        await r.send("order", {"cents": 5, "cart": 1})
        event_id = await r.send("order", {"cents": 5, "cart": 1})
        await r.engine.operations.erase_event(event_id)
        assert await r.engine.queries.event(event_id) is None
        await add_skipped(r.store.table, event_id, {"a-once": "found too late"})
        assert (await r.store.table.query(f"E#{event_id}")).items == []


async def test_reasons_are_kept_as_long_as_an_event_that_a_long_run_still_needs():
    async with rig(listening(idempotency="event.data.cart")) as r:
        await r.send("order", {"cents": 5, "cart": 1})
        event_id = await r.send("order", {"cents": 5, "cart": 1})
        await r.engine.events.extend(event_id, r.clock.now() + timedelta(days=90))
        await r.clock.advance(timedelta(days=80).total_seconds())
        assert sorted(await reasons_of(r, event_id)) == ["a-large", "a-once"]


async def test_the_runs_of_an_old_event_are_found_however_many_came_later_and_a_missed_replay_is_admitted():
    async with rig(listening()) as r:
        event_id = await r.send("order", {"cents": 500})
        [first] = await r.runs("a-large")
        for _ in range(5):
            await r.clock.advance(60)
            await r.send("order", {"cents": 500})
        await r.engine.operations.replay(first["run_id"])
        await r.send("order", {"cents": 500})
        all_of_them: Any = await r.engine.queries.event(event_id)
        assert all_of_them is not None
        assert (len(all_of_them["runs"]), all_of_them["runs_cut"]) == (3, False)
        few: Any = await r.engine.queries.event(event_id, scan_limit=2)
        assert few is not None
        assert {row["function_id"] for row in few["runs"]} == {"a-large", "a-once"}
        assert few["runs_cut"] is True


async def test_hundreds_of_listeners_leave_a_bounded_note_that_says_how_many_more_there_were():
    app = App("a")
    for number in range(60):
        app.function(id=f"f{number}", trigger=Event("order", if_=f"event.data.cents == {number} + 1000"))(_nothing)
    async with rig(app) as r:
        reasons = await reasons_of(r, await r.send("order", {"cents": 5}))
        assert len(reasons) == 51
        assert reasons["…"] == "10 more functions were skipped"


async def _nothing(ctx: Context) -> None: ...


@dataclass
class CountedTable:
    """A table that notes what is written to it."""

    table: Table
    writes: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.table, name)

    async def put(self, item: Item, when: Condition | None = None) -> None:
        self.writes.append(f"put {item['pk']!s}"[:6])
        await self.table.put(item, when)

    async def update(self, key: Key, changes: Changes, when: Condition | None = None) -> Item:
        self.writes.append(f"update {key.pk}"[:9])
        return await self.table.update(key, changes, when)


@pytest.mark.parametrize(
    ("name", "data", "written"),
    [
        ("order", {"cents": 500}, ["put E#"]),
        ("nobody/listens", {}, ["put E#", "put L#"]),
        ("order", {"cents": 5}, ["put E#"]),
        ("order", {"cents": 5, "paused": True}, ["put E#", "put L#"]),
    ],
    ids=["all started", "no listener", "expression false", "paused"],
)
async def test_reasons_that_are_known_beforehand_cost_no_write(name: str, data: dict[str, object], written: list[str]):
    async with rig(listening()) as r:
        counted = CountedTable(r.store.table)
        events = EventStore(cast("Table", counted), r.engine.values, timedelta(days=1))
        intake = replace(r.engine.intake, table=cast("Table", counted), events=events)
        if "paused" in data:
            await r.engine.registry.pause("a-once", paused=True)
        # The name of an event is kept with the first of its name.
        for _ in range(2):
            counted.writes.clear()
            read = read_events({"name": name, "data": data}, now=r.clock.now(), random_source=r.engine.random_source)
            await intake.take(read.events[0])
        assert counted.writes == written


async def test_a_used_idempotency_key_costs_one_write_more_and_a_repeat_leaves_the_reason():
    async with rig(listening(idempotency="event.data.cart")) as r:
        await r.send("order", {"cents": 500, "cart": 1})
        counted = CountedTable(r.store.table)
        intake = replace(r.engine.intake, table=cast("Table", counted))
        [event] = read_events(
            {"name": "order", "data": {"cents": 500, "cart": 1}},
            now=r.clock.now(),
            random_source=r.engine.random_source,
        ).events
        await intake.take(event)
        assert counted.writes == ["put I#", "update E#"]
        before = await reasons_of(r, event.event_id)
        assert list(before) == ["a-once"]
        await intake.take(event, redelivered=True)
        assert await reasons_of(r, event.event_id) == before
