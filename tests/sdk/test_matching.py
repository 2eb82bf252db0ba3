"""`match=` takes a path that both events have: a misspelt one is refused, with the right one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, Json, RootModel, computed_field
from typing_extensions import TypedDict

from milepost import App, Cancel, Context, Cron, Event, SyncContext
from milepost.errors import BadTriggerError, ConfigError

from .fake_server import RUN_ID, FakeServer


class Customer(BaseModel):
    customer_id: str
    tags: list[str] = []


class Item(BaseModel):
    sku: str


class Order(BaseModel):
    order_id: str
    parent: str | None = None
    customer: Customer | None = None
    items: list[Item] = []
    labels: dict[str, int] = {}
    anything: Any = None
    renamed: str = Field(default="", alias="otherName")
    read_as: str = Field(default="", validation_alias=AliasChoices("readAs", "read-as"))
    pair: tuple[Item, Customer] | None = None
    settings: Json[dict[str, int]] | None = None

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def total(self) -> int:
        return 7


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    order_id: str = ""


class Tree(BaseModel):
    name: str
    child: Tree | None = None


class Listed(RootModel[list[Item]]):
    pass


@dataclass
class Parcel:
    parcel_id: str
    order: Order


class Ticket(TypedDict):
    ticket_id: str
    order: Order


class NoSchema:
    """Pydantic reads it as itself only."""


class WithNoSchema(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    order_id: str
    thing: NoSchema


HERE = "function 'f' of app 'shop': Cancel('stop'): match="


async def handler(ctx: Context[Any]) -> None: ...


def declare(app: App, match: str, cancelling: Any, *triggers: Any) -> None:
    app.function(id="f", triggers=triggers or ["go"], cancel_on=Cancel(cancelling, match=match))(handler)


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (Order, "data.order_id"), (Order, "data.parent"), (Order, "data.customer.customer_id"),
        (Order, "data.customer.tags[0]"), (Order, "data.items[3].sku"), (Order, "data.labels.red"),
        (Order, 'data.labels["dark red"]'), (Order, "data.labels['it\"s']"), (Order, "data.anything.a[1].b"),
        (Order, "data.otherName"), (Order, "data.readAs"), (Order, "data.total"),
        (Order, "data.pair[1].customer_id"), (Order, "data"), (Order, "data.items"),
        (Open, "data.whatever.deep"), (Tree, "data.child.child.child.name"), (Parcel, "data.order.order_id"),
        (Ticket, "data.order.items[0].sku"), (Ticket, "data.ticket_id"), (WithNoSchema, "data.unknowable"),
        (Order, "id"), (Order, "user.id"), (Order, "ts"),
    ],
)  # fmt: skip
def test_a_path_that_the_model_has_is_accepted(app: App, model: type, match: str):
    declare(app, match, Event("stop", model))
    assert app.manifest("https://a.example")["functions"]


@pytest.mark.parametrize(
    ("model", "match", "said"),
    [
        (Order, "data.orderid", "Order, the model of event 'stop', has no field 'orderid'."),
        (Order, "data.orderid", "Did you mean 'data.order_id'? It has: order_id, parent, customer,"),
        (Order, "data.orderId", "Did you mean 'data.order_id'?"),
        (Order, "data.perent", "Did you mean 'data.parent'?"),
        (Order, "data.renamed", "labels, anything, otherName"),  # a field goes by its alias in events
        (Order, "data.zzz", "has no field 'zzz'. It has: order_id,"),
        (Order, "data.customer.id", "data.customer in Order ('stop') has no field 'id'. It has: customer_id, tags"),
        (Order, "data.custommer.customer_id", "Did you mean 'data.customer.customer_id'?"),
        (Order, "data.items.sku", "data.items in Order ('stop') has no field 'sku'."),
        (Order, "data.items[0].sko", "has no field 'sko'. Did you mean 'data.items[0].sku'?"),
        (Order, "data.pair[2]", "data.pair in Order ('stop') has no field 2."),
        (Order, "data.order_id.x", "data.order_id in Order ('stop') has no field 'x'."),
        (Order, "data[0]", "Order, the model of event 'stop', has no field 0."),
        (Tree, "data.child.nam", "Did you mean 'data.child.name'?"),
        (Parcel, "data.order.orderid", "Did you mean 'data.order.order_id'?"),
        (Ticket, "data.ticketId", "Did you mean 'data.ticket_id'?"),
    ],
)  # fmt: skip
def test_a_path_that_the_model_lacks_is_refused_with_the_fields_that_it_has(
    app: App, model: type, match: str, said: str
):
    with pytest.raises(BadTriggerError, match="^" + re.escape(f"{HERE}{match!r} is never there: ")) as refused:
        declare(app, match, Event("stop", model))
    assert said in str(refused.value)


def test_the_event_that_starts_the_run_must_have_the_path_too(app: App):
    with pytest.raises(BadTriggerError, match="Order, the model of event 'go', has no field 'orderid'"):
        declare(app, "data.orderid", "stop", Event("go", Order))
    # It may be missing in one of several events: the others can match. Those without a model, and crons, say nothing.
    declare(app, "data.parcel_id", "stop", Event("go", Order), Event("sent", Parcel))
    with pytest.raises(BadTriggerError, match="has no field 'nowhere'"):
        declare(App("shop"), "data.nowhere", "stop", Event("go", Order), Event("sent", Parcel), Cron("0 8 * * *"))
    declare(App("shop"), "data.nowhere", "stop", Event("go", Order), Event("plain"))
    declare(App("shop"), "data.nowhere", "stop", Cron("0 8 * * *"))


@pytest.mark.parametrize(
    ("match", "said"),
    [
        ("order_id", "is not a path into an event, whose fields are data, id,"),
        ("order_id", "write 'data.order_id'"),
        ("dta.order_id", "write 'data.dta.order_id'"),
        ("event.data.order_id", "is not a path: write one that both events have, such as 'data.order_id'"),
        ("async.data.id", "such as 'data.id'"),
        ("data.id == 7", "a condition belongs in if_"),
        ("data.id || true", "is not a path"),
        ("data.", "is not a path"),
        ("data.items[x]", "is not a path"),
        ("data.items[-1]", "is not a path"),
        ("data[\"a'b", "is not a path"),
        ("data .id", "is not a path"),
        ("data.größe", "is not a path"),
        ("event", "is not a path"),
        ("", "is not a path"),
    ],
)
def test_what_is_no_path_is_refused(app: App, match: str, said: str):
    with pytest.raises(BadTriggerError, match="^function 'f' of app 'shop': .*" + re.escape(said)):
        declare(app, match, "stop")


def test_an_empty_condition_is_refused_instead_of_matching_everything(app: App):
    with pytest.raises(BadTriggerError, match="if_ is empty"):
        app.function(id="f", trigger="go", cancel_on=Cancel("stop", if_=" "))(handler)


class Later(BaseModel):
    order_id: str
    part: Part | None = None  # type: ignore[name-defined]  # noqa: F821 - defined later, in the test


def test_a_model_that_is_completed_later_is_checked_at_registration(app: App):
    declare(app, "data.part.number", Event("stop", Later))

    class Part(BaseModel):
        num: str

    Later.model_rebuild(_types_namespace={"Part": Part})
    with pytest.raises(BadTriggerError, match=r"data\.part in Later \('stop'\) has no field 'number'"):
        app.manifest("https://a.example")


@pytest.mark.parametrize("key", ["event.data.ordre_id", " event.data.customer.id "])
def test_an_idempotency_key_that_no_event_has_is_refused(app: App, key: str):
    with pytest.raises(ConfigError, match=re.escape(f"function 'f' of app 'shop': idempotency={key!r} is never there")):
        app.function(id="f", trigger=Event("go", Order), idempotency=key)(handler)


@pytest.mark.parametrize("key", ["event.data.order_id", "event.id", "event.data.x || event.data.order_id", "'x'"])
def test_other_idempotency_keys_are_accepted(app: App, key: str):
    app.function(id="f", trigger=Event("go", Order), idempotency=key)(handler)


@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync"])
async def test_a_wait_with_a_path_that_a_model_lacks_fails_the_run_and_is_not_retried(app: App, *, asynchronous: bool):
    awaited = Event("stop", Order)

    if asynchronous:

        @app.function(id="f", trigger=Event("go"))
        async def _(ctx: Context) -> None:
            await ctx.step.wait_for_event("w", awaited, timeout="1h", match="data.orderid")

    else:

        @app.function(id="f", trigger=Event("go"))
        def _(ctx: SyncContext) -> None:
            ctx.step.wait_for_event("w", awaited, timeout="1h", match="data.orderid")

    called = await FakeServer(app, "shop-f").call()
    assert (called.response.status, called.response.headers["x-inngest-no-retry"]) == (400, "true")
    assert called.json["message"].startswith(
        f"wait 'w' of function 'shop-f', run {RUN_ID}: match='data.orderid' is never there: "
        "Order, the model of event 'stop', has no field 'orderid'. Did you mean 'data.order_id'?"
    )


async def test_a_wait_is_checked_against_the_event_that_starts_the_run(app: App):
    @app.function(id="f", trigger=Event("go", Order))
    async def _(ctx: Context[Order]) -> None:
        await ctx.step.wait_for_event("w", "stop", timeout="1h", match="data.orderid")

    event = {"name": "go", "data": {"order_id": "7"}}
    called = await FakeServer(app, "shop-f", event=event).call()
    assert "Order, the model of event 'go', has no field 'orderid'" in called.json["message"]
