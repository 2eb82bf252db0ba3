"""What type checkers must know of the public API. Checked by mypy and pyright; never run.

Lines that end with an ignore must be errors: both checkers complain about an ignore that is not needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, assert_type

from pydantic import BaseModel

from milepost import (
    App,
    Cancel,
    Context,
    Cron,
    Event,
    Function,
    FunctionRef,
    NewEvent,
    ReceivedEvent,
    Retries,
    RunHandle,
    SyncContext,
    Timeouts,
)
from milepost.middleware import Middleware, StepOutput
from milepost.sending import EventBatch, RecordingTransport, Transport
from milepost.serving import Request, Response


class Order(BaseModel):
    id: str


class Receipt(BaseModel):
    number: int


ORDER = Event("order/created", Order)
PLAIN = Event("order/paid")

assert_type(ORDER, Event[Order])
assert_type(PLAIN, Event[dict[str, Any]])
assert_type(ORDER.where("true"), Event[Order])
assert_type(ORDER.create(Order(id="1")), NewEvent[Order])
ORDER.create({"id": "1"})

app = App("shop", retries=Retries(3, first_delay="10s"), transport=RecordingTransport(), mode="checkpoint")
App("shop", mode="fast")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def charge(order: Order, cents: int) -> Receipt:
    return Receipt(number=cents)


def tax(cents: int) -> int:
    return cents


@app.function(id="only-invoked", input=Order)
async def only_invoked(ctx: Context[Order]) -> Receipt:
    return Receipt(number=len(ctx.event.data.id))


assert_type(only_invoked, Function[Order, Receipt])


async def starting() -> None:
    run = await only_invoked.start(Order(id="1"), id="1")
    assert_type(run, RunHandle[Receipt])
    assert_type(await run.result(timeout="1m"), Receipt)
    assert_type(only_invoked.start_sync({"id": "1"}).result_sync(), Receipt)
    assert_type(await run.cancel(), bool)
    await only_invoked.start(Receipt(number=1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await only_invoked.start("order")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@app.function(id="a", trigger=ORDER, retries=2, cancel_on=[Cancel("order/cancelled")], timeouts=Timeouts(finish="1h"))
async def typed(ctx: Context[Order]) -> Receipt:
    assert_type(ctx.event, ReceivedEvent[Order])
    assert_type(ctx.event.data, Order)
    receipt = await ctx.step.run("charge", charge, ctx.event.data, 5)
    assert_type(receipt, Receipt)
    assert_type(await ctx.step.run("tax", tax, 5), int)
    assert_type(await ctx.step.run("again", charge, ctx.event.data, 5, retries=3), Receipt)
    assert_type(await ctx.step.run("and again", tax, 5, retries=Retries(1, on=OSError, never=[KeyError])), int)
    assert_type(await ctx.step.run("in time", tax, 5, timeout="30s"), int)
    assert_type(await ctx.step.run("in time again", charge, ctx.event.data, 5, retries=3, timeout=60), Receipt)
    await ctx.step.sleep("nap", timedelta(hours=1))
    event = await ctx.step.wait_for_event("paid", ORDER, timeout="1d", match="data.id")
    assert_type(event, ReceivedEvent[Order] | None)
    plain = await ctx.step.wait_for_event("plain", "order/paid", timeout=60)
    assert_type(plain, ReceivedEvent[dict[str, Any]] | None)
    one, two = await asyncio.gather(ctx.step.run("one", tax, 1), ctx.step.run("two", charge, ctx.event.data, 2))
    assert_type(one, int)
    assert_type(two, Receipt)
    assert_type(await ctx.step.invoke("child", synchronous), str)
    assert_type(await ctx.step.invoke("other", FunctionRef("app", "fn", Receipt)), Receipt)
    assert_type(await ctx.step.send_event("notify", [ORDER.create(ctx.event.data)]), list[str])
    options = ctx.step.options(retries=3, timeout="30s")
    assert_type(await options.run("checked", charge, ctx.event.data, 5), Receipt)
    assert_type(await options.run("checked too", tax, cents=5), int)
    await options.run("wrong", charge, "order", 5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await options.run("wrong", tax)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    assert_type(await ctx.step.invoke("typed", only_invoked, ctx.event.data), Receipt)
    assert_type(await ctx.step.invoke("mapping", only_invoked, {"id": "1"}), Receipt)
    await ctx.step.invoke("wrong", only_invoked, Receipt(number=1))  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await ctx.step.invoke("wrong", only_invoked, "order")  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await ctx.step.run("wrong", charge, "order", 5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    return receipt


assert_type(typed, Function[Order, Receipt])


@app.function(id="b", trigger=PLAIN)
def synchronous(ctx: SyncContext) -> str:
    assert_type(ctx.event.data, dict[str, Any])
    assert_type(ctx.step.run("tax", tax, 5), int)
    assert_type(ctx.step.run("charge", charge, Order(id="1"), 5), Receipt)
    assert_type(ctx.step.run("in time", tax, 5, timeout=timedelta(seconds=30)), int)
    assert_type(ctx.step.options(timeout=60).run("checked", charge, Order(id="1"), 5), Receipt)
    ctx.step.options(timeout=60).run("wrong", tax, "5")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert_type(ctx.step.invoke("typed", only_invoked, Order(id="1")), Receipt)
    ctx.step.invoke("wrong", only_invoked, 5)  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    both = ctx.step.parallel((lambda: ctx.step.run("a", tax, 1), lambda: ctx.step.run("b", str)))
    assert_type(both, tuple[int, str])
    many = ctx.step.parallel([lambda: ctx.step.run("a", tax, 1)])
    assert_type(many, tuple[int, ...])
    return "done"


assert_type(synchronous, Function[dict[str, Any], str])


@app.function(id="c", trigger=ORDER)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
async def wrong_model(ctx: Context[Receipt]) -> None: ...


@app.function(id="d", triggers=[ORDER, PLAIN, Cron("0 8 * * *", tz="Europe/Paris", catch_up="all")])
async def several(ctx: Context[Order | dict[str, Any]]) -> int:
    return 1


@app.function(id="e", trigger=Cron("0 8 * * *"))
async def nightly(ctx: Context) -> None: ...


app.function(id="g", trigger=ORDER, concurrency=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


class Stamping(Middleware):
    async def transform_output(self, output: StepOutput) -> StepOutput:
        return output

    def before_execution(self, ctx: Context[Any] | SyncContext[Any]) -> None:
        assert_type(ctx.run_id, str)

    async def before_send_events(self, events: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        return events


class Printing:
    def send(self, batch: EventBatch) -> Sequence[str]:
        return [str(event["name"]) for event in batch.events]


transport: Transport = Printing()
App("shop", middleware=[Stamping()], transport=transport)


async def sending() -> None:
    assert_type(await app.send(ORDER.create(Order(id="1"))), list[str])
    assert_type(app.send_sync([{"name": "t/a", "data": {"n": 1}}, NewEvent("t/b", {})]), list[str])
    assert_type(await app.handle(Request("GET")), Response)
    assert_type(app.manifest("https://app.example"), dict[str, object])
