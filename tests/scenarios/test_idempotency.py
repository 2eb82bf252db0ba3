"""An idempotency key starts a function once in 24 hours."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from milepost import App, Context, Event
from milepost_engine.core.ids import short_hash
from milepost_engine.ports import Key

from .rig import rig


class Order(BaseModel):
    order_id: str
    cart: str | None = None


async def test_an_idempotency_key_lets_one_run_through_in_24_hours():
    app, seen = App("a"), []

    @app.function(id="f", trigger=Event("go"), idempotency="event.data.cart")
    async def f(ctx: Context) -> None:
        seen.append(ctx.event.data["cart"])

    async with rig(app) as r:
        for cart in (1, 1, 2, 1):
            await r.send("go", {"cart": cart})
        assert seen == [1, 2]


async def test_idempotency_keys_are_the_same_when_their_values_are_equal():
    app, seen = App("a"), []

    @app.function(id="f", trigger=Event("go"), idempotency="event.data.key")
    async def f(ctx: Context) -> None:
        seen.append(ctx.event.data["key"])

    keys = [
        {"a": 1, "b": [2.5, {"x": None, "y": True}]}, {"b": [2.5, {"y": True, "x": None}], "a": 1.0}, [1], [1.0], ["1"],
        [True], [9007199254740992], [9007199254740993], "[1]", 1, "1",
    ]  # fmt: skip
    async with rig(app) as r:
        for key in keys:
            await r.send("go", {"key": key})
        assert seen == [key for place, key in enumerate(keys) if place not in {1, 3}]


async def test_the_claim_of_a_plain_idempotency_key_is_where_it_always_was():
    app = App("a")

    @app.function(id="f", trigger=Event("go"), idempotency="event.data.key")
    async def f(ctx: Context) -> None: ...

    async with rig(app) as r:
        for key in ("cart-7", 7):
            await r.send("go", {"key": key})
        for text in ("'cart-7'", "7.0"):
            assert await r.store.table.get(Key(f"I#a-f#{short_hash(text)}", "I")) is not None


async def test_events_without_a_key_are_different_events():
    """An optional field as key: none of the events without it may be dropped."""
    app, seen = App("shop"), []

    @app.function(id="plain", trigger=Event("order/made"), idempotency="event.data.cart")
    async def plain(ctx: Context) -> None:
        seen.append(ctx.event.data["order"])

    @app.function(id="built", trigger=Event("order/made"), idempotency="'cart-' + event.data.cart")
    async def built(ctx: Context) -> None:
        seen.append(-ctx.event.data["order"])

    carts: list[dict[str, object]] = [
        {},
        {},
        {"cart": None},
        {"cart": None},
        {"cart": ""},
        {"cart": ""},
        {"cart": "c"},
        {"cart": "c"},
    ]
    async with rig(app) as r:
        for order, cart in enumerate(carts, 1):
            await r.send("order/made", {"order": order, **cart})
        assert sorted(seen) == [-7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7]


async def test_a_model_that_leaves_its_key_empty_drops_nothing():
    ordered = Event("order/made", Order)
    app, seen = App("shop"), []

    @app.function(id="f", trigger=ordered, idempotency="event.data.cart")
    async def f(ctx: Context[Order]) -> None:
        seen.append(ctx.event.data.order_id)

    async with rig(app) as r:
        for order_id in ("1", "2", "3"):
            made = ordered.create(Order(order_id=order_id))
            await r.send(made.name, made.data.model_dump())
        assert seen == ["1", "2", "3"]


@pytest.mark.parametrize("number", [2**53, 2**63 - 2, 2**63, 2**64, 2**128, 10**30, -(2**64)], ids=str)
async def test_neighbouring_whole_numbers_are_different_keys_however_large(number: int):
    app, seen = App("a"), []

    @app.function(id="f", trigger=Event("mint"), idempotency="event.data.token")
    async def f(ctx: Context) -> None:
        seen.append(ctx.event.data["token"])

    async with rig(app) as r:
        for token in (number, number + 1, number, number + 2, number + 1):
            await r.send("mint", {"token": token})
        assert seen == [number, number + 1, number + 2]
