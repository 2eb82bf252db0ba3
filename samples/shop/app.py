"""The shop's durable functions. Start it with `make dev`, or `milepost dev samples/shop/app.py`.

1. `user/signed-up` starts three independent functions.
2. `order/created` charges a card, creates the fulfilment record and confirms; when the database is down the charge is
   not repeated.
3. A daily report; two parallel steps; a function that sleeps, waits for an event and invokes another function.
4. A webhook: the payment provider reports a refund; `python -m samples.shop.provider refund 7` sends one.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from pydantic import BaseModel, Field

from milepost import App, Cancel, Context, Cron, Event, NewEvent, Retries, StepError, SyncContext, WebhookRequest
from samples.shop import provider, services


class SignedUp(BaseModel):
    user_id: str
    email: str


class OrderCreated(BaseModel):
    order_id: str
    email: str = "customer@example.com"
    cents: int = Field(default=4200, gt=0)


class OrderDelivered(BaseModel):
    order_id: str


class PaymentRefunded(BaseModel):
    order_id: str


signed_up = Event("user/signed-up", SignedUp)
order_created = Event("order/created", OrderCreated)
payment_refunded = Event("payment/refunded", PaymentRefunded)
order_cancelled = Event("order/cancelled")
order_delivered = Event("order/delivered", OrderDelivered)

# Short first waits, to make retries visible; a real shop would start at 15 seconds or more.
quick = Retries(max_retries=4, first_delay=timedelta(seconds=2), factor=2, max_delay=timedelta(minutes=1))

app = App("shop")


# --- 1. one event, three functions ---------------------------------------------------------------------------------


@app.function(id="welcome-mail", trigger=signed_up, retries=quick)
async def welcome_mail(ctx: Context[SignedUp]) -> str:
    return await ctx.step.run("send welcome", services.mail, ctx.event.data.email, "Welcome!")


@app.function(id="default-project", trigger=signed_up, retries=quick)
async def default_project(ctx: Context[SignedUp]) -> str:
    return await ctx.step.run("create project", services.insert, "projects", ctx.event.data.user_id)


@app.function(id="track-signup", trigger=signed_up, retries=1)
def track_signup(ctx: SyncContext[SignedUp]) -> str:
    return ctx.step.run("count signup", services.insert, "signups", ctx.event.data.user_id)


# --- 2. an order ------------------------------------------------------------------------------------------------------


@app.function(
    id="fulfil-order",
    trigger=order_created,
    retries=quick,
    cancel_on=[Cancel(order_cancelled, match="data.order_id")],
)
async def fulfil_order(ctx: Context[OrderCreated]) -> dict[str, str]:
    order = ctx.event.data
    payment = await ctx.step.run("charge card", services.charge, order.order_id, order.cents)
    record = await ctx.step.run("create fulfilment", services.insert, "fulfilments", order.order_id, payment=payment)
    await ctx.step.run("send confirmation", services.mail, order.email, f"Order {order.order_id} is on its way")
    return {"payment": payment, "fulfilment": record}


# --- 3. cron, parallel steps, and waiting ---------------------------------------------------------------------------


@app.function(id="daily-report", trigger=Cron("0 8 * * *", tz="Europe/Paris"), retries=quick)
async def daily_report(ctx: Context) -> int:
    orders = await ctx.step.run("count orders", services.count, "fulfilments")
    await ctx.step.run("mail report", services.mail, "owner@example.com", f"{orders} orders so far")
    return orders


@app.function(id="check-order", trigger=order_created, retries=quick)
async def check_order(ctx: Context[OrderCreated]) -> list[str]:
    order_id = ctx.event.data.order_id
    return list(
        await asyncio.gather(
            ctx.step.run("reserve stock", services.insert, "reservations", order_id),
            ctx.step.run("check fraud", services.insert, "fraud_checks", order_id),
        )
    )


@app.function(id="ask-for-review", trigger=order_created, retries=quick)
async def ask_for_review(ctx: Context[OrderCreated]) -> str:
    await ctx.step.sleep("let it be packed", timedelta(seconds=3))
    delivered = await ctx.step.wait_for_event(
        "delivered", order_delivered, timeout=timedelta(minutes=5), match="data.order_id"
    )
    if delivered is None:
        return "never delivered"
    try:
        return await ctx.step.invoke("ask", send_review_mail, {"email": ctx.event.data.email})
    except StepError as failed:
        return f"could not ask: {failed.message}"


@app.function(id="send-review-mail", triggers=[], retries=quick)
async def send_review_mail(ctx: Context) -> str:
    return await ctx.step.run("send review mail", services.mail, ctx.event.data["email"], "How was it?")


# --- 4. a webhook -----------------------------------------------------------------------------------------------------


@app.webhook("payments", provider="stripe", secret=provider.SECRET)
def payments(request: WebhookRequest) -> NewEvent[PaymentRefunded] | None:
    payload = request.json
    if payload["type"] != "charge.refunded":
        return None
    return payment_refunded.create(PaymentRefunded(order_id=payload["data"]["object"]["metadata"]["order_id"]))


@app.function(id="note-refund", trigger=payment_refunded, retries=quick)
async def note_refund(ctx: Context[PaymentRefunded]) -> str:
    return await ctx.step.run("write refund", services.insert, "refunds", ctx.event.data.order_id)
