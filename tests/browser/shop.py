"""An app whose runs show everything that a trace can show, without waiting for it."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, Field

from milepost import App, Cancel, Context, Cron, Event, NonRetriableError, Retries, Timeouts

QUICK = Retries(max_retries=1, first_delay=timedelta(milliseconds=1))


class Order(BaseModel):
    order_id: str
    cents: int = Field(default=4200, gt=0)


def make_app() -> tuple[App, set[str]]:
    """The app, and the names of what is broken, for the tests to change."""
    app = App("store", retries=QUICK)
    broken: set[str] = set()
    created = Event("order/created", Order)

    async def charge(order_id: str) -> str:
        return f"payment-{order_id}"

    async def write(order_id: str) -> str:
        if "database" in broken:
            logging.getLogger("store.database").warning("no connection left, order %s", order_id)
            raise ConnectionError("the database is down")
        return f"row-{order_id}"

    @app.function(id="fulfil", trigger=created, cancel_on=[Cancel(Event("order/cancelled"), match="data.order_id")])
    async def fulfil(ctx: Context[Order]) -> dict[str, str]:
        payment = await ctx.step.run("charge card", charge, ctx.event.data.order_id)
        record = await ctx.step.run("create fulfilment", write, ctx.event.data.order_id)
        return {"payment": payment, "record": record}

    @app.function(id="large-only", trigger=created.where("event.data.cents > 10000"))
    async def large_only(ctx: Context[Order]) -> int:
        return ctx.event.data.cents

    @app.function(id="deliver", trigger=Event("order/packed"))
    async def deliver(ctx: Context[Any]) -> str:
        await asyncio.gather(*(ctx.step.run(f"label {name}", charge, name) for name in "ABC"))
        found = await ctx.step.wait_for_event("delivered", "order/delivered", timeout="1h", match="data.order_id")
        return await ctx.step.invoke("thank", thank, {"found": found is not None})

    @app.function(id="thank", triggers=[])
    async def thank(ctx: Context[Any]) -> str:
        return await ctx.step.run("write a card", charge, "thanks")

    @app.function(id="refuse", trigger=Event("order/refused"))
    async def refuse(ctx: Context[Any]) -> None:
        raise NonRetriableError("the order was refused for good")

    @app.function(id="report", trigger=Cron("0 8 * * *", tz="Europe/Paris"), timeouts=Timeouts(start="8d"))
    async def report(ctx: Context[Any]) -> None:
        return None

    return app, broken
