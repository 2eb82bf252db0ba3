"""Events and triggers: declared, validated when sent, read when received."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from milepost import App, Context, Cron, Event, ReceivedEvent, SyncContext
from milepost.errors import BadTriggerError, ConfigError, EventMismatchError, ReservedEventNameError

from .fake_server import FakeServer


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str
    total: int


class Refund(BaseModel):
    refund: int


ORDER = Event("t/a", Order)


async def test_the_data_of_a_typed_event_is_the_model(app: App) -> None:
    seen: list[ReceivedEvent[Order]] = []

    @app.function(id="f", trigger=ORDER)
    async def f(ctx: Context[Order]) -> None:
        seen.append(ctx.event)
        assert ctx.events == (ctx.event,)

    await FakeServer(app, "shop-f", data={"id": "o1", "total": 5}).call()
    assert seen[0].data == Order(id="o1", total=5)
    assert (seen[0].id, seen[0].name) == ("e1", "t/a")
    assert seen[0].ts == datetime.fromtimestamp(1_795_464_895.551, UTC)


async def test_data_that_does_not_fit_fails_the_run_clearly_and_is_not_retried(app: App) -> None:
    @app.function(id="f", trigger=ORDER)
    async def f(ctx: Context[Order]) -> None: ...

    called = await FakeServer(app, "shop-f", data={"id": "o1", "total": "much"}).call()
    assert called.response.status == 400
    assert called.response.headers["x-inngest-no-retry"] == "true"
    assert called.json["code"] == "event_mismatch"
    assert "total" in called.json["message"]
    assert "shop-f" in called.json["message"]


async def test_of_several_typed_triggers_the_one_that_was_sent_reads_the_data(app: App) -> None:
    seen: list[Any] = []

    @app.function(id="f", triggers=[ORDER, Event("t/b", Refund), Event("t/c")])
    def f(ctx: SyncContext[Any]) -> None:
        seen.append(ctx.event.data)

    for name, data in (("t/b", {"refund": 1}), ("t/a", {"id": "o", "total": 1}), ("t/c", {"free": True})):
        await FakeServer(app, "shop-f", event={"name": name, "data": data}).call()
    assert seen == [Refund(refund=1), Order(id="o", total=1), {"free": True}]


async def test_an_invoked_function_reads_its_input_as_the_model_without_the_engines_addition(app: App) -> None:
    seen: list[Any] = []

    @app.function(id="f", trigger=ORDER)
    async def f(ctx: Context[Order]) -> None:
        seen.append(ctx.event.data)

    data = {"id": "o", "total": 1, "_inngest": {"fn_id": "shop-f"}}
    await FakeServer(app, "shop-f", event={"name": "inngest/function.invoked", "data": data}).call()
    assert seen == [Order(id="o", total=1)]


async def test_a_cron_run_knows_its_tick(app: App) -> None:
    seen: list[Any] = []

    @app.function(id="f", trigger=Cron("0 8 * * *"))
    async def f(ctx: Context) -> None:
        seen.append(ctx.cron)

    data = {"cron": "0 8 * * *", "scheduledAt": "2026-11-23T08:00:00Z", "fireAt": "2026-11-23T08:00:07Z"}
    await FakeServer(app, "shop-f", event={"name": "inngest/scheduled.timer", "data": data, "ts": 1}).call()
    scheduled = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
    assert (seen[0].cron, seen[0].scheduled_at) == ("0 8 * * *", scheduled)
    assert seen[0].fired_at == scheduled + timedelta(seconds=7)


async def test_a_wait_gives_the_event_as_the_model_or_none(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> Any:
        paid = await ctx.step.wait_for_event(
            "paid", ORDER, timeout=timedelta(days=1), match="data.id", if_="async.data.total > 1", lookback="5m"
        )
        late = await ctx.step.wait_for_event("late", "t/late", timeout="1s")
        assert isinstance(paid, ReceivedEvent)
        return [paid.data.total, late]

    event = {"name": "t/a", "id": "e2", "data": {"id": "o", "total": 9}, "ts": 1}
    server = FakeServer(app, "shop-f", wakes={"paid": event})
    await server.run()
    assert server.result == [9, None]
    op = server.calls[0].ops[0]
    assert (op["op"], op["name"], op["displayName"]) == ("WaitForEvent", "t/a", "paid")
    assert op["opts"] == {
        "event": "t/a", "timeout": "86400s", "lookback": "300s",
        "if": "(event.data.id != null && event.data.id == async.data.id) && (async.data.total > 1)",
    }  # fmt: skip


async def test_the_moment_of_a_sleep_is_sent_as_utc_text(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.sleep_until("a", "2026-12-24T18:00:00+01:00")
        await ctx.step.sleep_until("b", datetime(2026, 12, 24, tzinfo=UTC))

    server = FakeServer(app, "shop-f")
    await server.run()
    names = [call.ops[0]["name"] for call in server.calls[:2]]
    assert names == ["2026-12-24T17:00:00.000Z", "2026-12-24T00:00:00.000Z"]


@pytest.mark.parametrize(
    ("duration", "text"),
    [("1h30m", "5400s"), (90, "90s"), (0.25, "250ms"), (timedelta(days=366), "31622400s"), ("300d500ms", "25920001s")],
)
async def test_a_duration_is_sent_in_one_unit(app: App, duration: Any, text: str) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> None:
        ctx.step.sleep("nap", duration)

    assert (await FakeServer(app, "shop-f").call()).ops[0]["opts"]["duration"] == text


@pytest.mark.parametrize("duration", ["soon", "-1s", -1, timedelta(days=-1), "367d", True, None, float("nan")])
async def test_an_invalid_duration_is_refused_and_not_retried(app: App, duration: Any) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> None:
        ctx.step.sleep("nap", duration)

    called = await FakeServer(app, "shop-f").call()
    assert (called.response.status, called.json["code"]) == (400, "bad_duration")
    assert "'nap'" in called.json["message"]


async def test_a_moment_without_a_time_zone_is_refused(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.sleep_until("nap", datetime(2026, 1, 1))  # noqa: DTZ001

    assert (await FakeServer(app, "shop-f").call()).json["code"] == "bad_duration"


def test_data_is_validated_when_an_event_is_made() -> None:
    assert ORDER.create({"id": "o", "total": 3}).data == Order(id="o", total=3)
    with pytest.raises(EventMismatchError, match="total: Input should be a valid integer"):
        ORDER.create({"id": "o", "total": "x"})


@pytest.mark.parametrize("name", ["", "*", "order*", "or*der/x", "order/*/x", "a" * 256])
def test_an_event_name_that_cannot_trigger_is_refused(name: str) -> None:
    with pytest.raises(BadTriggerError):
        Event(name)


def test_a_pattern_matches_what_follows_and_cannot_be_sent() -> None:
    pattern = Event("order/*")
    assert pattern.matches("order/created")
    assert not pattern.matches("orders/created")
    with pytest.raises(ConfigError, match="pattern"):
        pattern.create({})


def test_reserved_names_can_be_listened_to_but_not_sent() -> None:
    failed = Event("inngest/function.failed")
    with pytest.raises(ReservedEventNameError):
        failed.create({})


@pytest.mark.parametrize("line", ["", "* * * *", "a;b * * * *"])
def test_a_cron_line_that_is_not_five_fields_is_refused(line: str) -> None:
    with pytest.raises(BadTriggerError, match="five fields"):
        Cron(line)


@pytest.mark.parametrize(
    "options", [{"tz": "Mars/Olympus"}, {"jitter": "10m"}, {"jitter": 0}, {"catch_up": "some"}, {"tz": "../etc"}]
)
def test_an_invalid_cron_option_is_refused(options: Any) -> None:
    with pytest.raises(BadTriggerError):
        Cron("* * * * *", **options)


def test_a_condition_makes_another_trigger_of_the_same_event() -> None:
    large = ORDER.where("event.data.total > 10")
    assert (large.name, large.model, large.if_) == ("t/a", Order, "event.data.total > 10")
    assert ORDER.if_ is None
