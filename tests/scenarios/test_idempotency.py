"""An idempotency key starts a function once in 24 hours."""

from __future__ import annotations

from milepost import App, Context, Event
from milepost_engine.core.ids import short_hash
from milepost_engine.ports import Key

from .rig import rig


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
