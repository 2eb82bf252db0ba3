"""What is written wrongly gets a message that says what to write instead."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from milepost import App, Context, Cron, Event, SyncContext
from milepost.errors import BadTriggerError, ConfigError
from milepost.protocol import hash_step_id

from .fake_server import FakeServer

KINDS = pytest.mark.parametrize("kind", ["async", "sync"])


def register(app: App, kind: str, made: Any) -> FakeServer:
    """A function whose code is `made(ctx)`; in async code its result is awaited."""

    async def in_async(ctx: Context) -> Any:
        result = made(ctx)
        return await result if hasattr(result, "__await__") else result

    def in_sync(ctx: SyncContext) -> Any:
        return made(ctx)

    app.function(id="f", trigger=Event("t/a"), retries=0)(in_async if kind == "async" else in_sync)
    return FakeServer(app, "shop-f")


# --- functions --------------------------------------------------------------------------------------------------------


def test_a_durable_function_cannot_be_called_directly(app: App) -> None:
    @app.function(id="order", trigger=Event("t/a"))
    async def order(ctx: Context) -> None: ...

    with pytest.raises(ConfigError, match=r"function 'order' of app 'shop' cannot be called .*app\.send.*step\.invoke"):
        order({"id": 1})


@KINDS
async def test_a_durable_function_is_no_body_of_a_step(app: App, kind: str) -> None:
    @app.function(id="order", trigger=Event("t/a"))
    async def order(ctx: Context) -> None: ...

    called = await register(app, kind, lambda ctx: ctx.step.run("order", order, 1)).call()
    assert called.response.status == 400
    assert "step 'order' of function 'shop-f', run " in called.json["message"]
    assert "write step.invoke(id, function, data)" in called.json["message"]


def test_a_function_is_registered_once(app: App) -> None:
    once = app.function(id="order", trigger=Event("t/a"))(lambda _: None)
    with pytest.raises(ConfigError, match="registered already"):
        app.function(id="again", trigger=Event("t/a"))(once)
    with pytest.raises(ConfigError, match="registered already"):
        app.function(id="third", trigger=Event("t/a"), on_failure=once)(lambda _: None)


def test_what_is_passed_without_a_keyword_is_named(app: App) -> None:
    function: Any = app.function

    def fulfil_order(ctx: SyncContext) -> None: ...

    with pytest.raises(ConfigError, match=r"has 'order' without a keyword: write @app\.function\(id='order', trigger="):
        function("order")
    with pytest.raises(ConfigError, match=r"without parentheses above 'fulfil_order'.*id='fulfil-order'"):
        function(fulfil_order)
    with pytest.raises(ConfigError, match=r"with the options name has no id: write @app\.function\(id="):
        function(name="x")


@pytest.mark.parametrize(("option", "meant"), [("retry", "retries"), ("timeout", "timeouts"), ("trigers", "triggers")])
def test_a_misspelt_option_of_a_function_is_named_with_the_right_one(app: App, option: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"options that do not exist: {option} \(did you mean {meant}\?\)"):
        app.function(id="f", **{option: 3})  # type: ignore[call-overload]


# --- events -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"name": "t/a", "daat": {"n": 1}}, r"daat \(did you mean data\?\)"),
        ({"naem": "t/a", "data": {}}, r"naem \(did you mean name\?\)"),
        ({"name": "t/a", "order_id": 7}, r"order_id\. Its keys are name, data, id and ts; what it is about goes into"),
    ],
)
def test_a_key_that_events_do_not_have_is_refused(app: App, event: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        app.send_sync(event)


# --- values -----------------------------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("where", ["step", "function"])
async def test_next_of_an_empty_iterator_says_so(app: App, kind: str, where: str) -> None:
    def first() -> Any:
        return next(iter([]))

    made = (lambda ctx: ctx.step.run("first", first)) if where == "step" else (lambda _: first())
    called = await register(app, kind, made).call()
    error = called.ops[0]["error"] if where == "step" else called.json
    assert "next() found nothing in an iterator. Write next(iterator, default)" in error["message"]


class Receipt(BaseModel):
    total: int
    currency: str


@KINDS
async def test_a_recorded_result_that_no_longer_fits_its_type_says_what_to_do(app: App, kind: str) -> None:
    def charge() -> Receipt:
        raise AssertionError("it ran before")

    server = register(app, kind, lambda ctx: ctx.step.run("charge", charge))
    # As the version of the code before wrote it: without the field `currency`.
    server.remember(hash_step_id("charge", 0), {"data": {"total": 5}})
    called = await server.call()
    assert (called.response.status, called.response.headers["x-inngest-no-retry"]) == (400, "true")
    for part in ("step 'charge' of function 'shop-f'", "currency", "give new fields a default", "does not run again"):
        assert part in called.json["message"]


# --- schedules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@Annually ", "0 0 1 1 *"),
    ],
)
def test_a_schedule_can_have_a_name(name: str, line: str) -> None:
    assert Cron(name).wire_line == line
    assert Cron(name, tz="Europe/Paris").wire_line == f"TZ=Europe/Paris {line}"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("@every 5m", r"is not one of @hourly, .*'\*/5 \* \* \* \*'"),
        ("*/10 * * * * *", r"has six fields.*such as '\* \* \* \* \*'; for less than a minute"),
        ("0 9 ? * 2#1 *", "has six fields"),
        ("rate(5 minutes)", r"is a rate of EventBridge: write five fields"),
        ("cron(0 10 * * ? *)", r"has the six fields of EventBridge"),
        ("TZ=Europe/Paris 0 9 * * *", r"write Cron\('0 9 \* \* \*', tz='Europe/Paris'\)"),
        ("0 9 * *", "is not five fields"),
        ("", "is not five fields"),
    ],
)
def test_a_schedule_in_another_form_says_what_to_write(line: str, said: str) -> None:
    with pytest.raises(BadTriggerError, match=said):
        Cron(line)
