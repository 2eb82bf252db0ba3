"""`retries=` and `timeout=` of `step.run` are its options; what looks like one is refused and never swallowed."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from milepost import App, Context, Event, NonRetriableError, Retries, RetryAfterError, SyncContext
from milepost.errors import BadRetriesError, StepTimeoutError

from .fake_server import FakeServer

KINDS = pytest.mark.parametrize("kind", ["async", "sync"])
FOREVER = 3600.0


def swallow(**kwargs: Any) -> dict[str, Any]:
    return kwargs


def with_own(timeout: int = 0, retry: int = 0) -> list[int]:
    return [timeout, retry]


def serve(app: App, kind: str, fn: Callable[..., Any], *args: Any, **options: Any) -> FakeServer:
    """A function with one step."""

    async def in_async(ctx: Context) -> Any:
        return await ctx.step.run("call", fn, *args, **options)

    def in_sync(ctx: SyncContext) -> Any:
        return ctx.step.run("call", fn, *args, **options)

    app.function(id="f", trigger=Event("t/a"))(in_async if kind == "async" else in_sync)
    return FakeServer(app, "shop-f")


# --- words ------------------------------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("retry", "write retries="),
        ("max_retries", "write retries="),
        ("attempts", "write retries="),
        ("backoff", "first_delay"),
        ("timeouts", "write timeout="),
        ("timeout_seconds", "write timeout="),
        ("once", "idempotency key"),
        ("at_most_once", "idempotency key"),
    ],
)
async def test_a_word_that_looks_like_an_option_does_not_go_to_the_body(
    app: App, kind: str, word: str, said: str
) -> None:
    called = await serve(app, kind, swallow, **{word: 3}).call()
    assert (called.response.status, called.response.headers["x-inngest-no-retry"]) == (400, "true")
    message = called.json["message"]
    for part in ("step 'call' of function 'shop-f', run ", f"{word}= is not an option", said, "functools.partial"):
        assert part in message


@KINDS
async def test_options_do_not_go_to_the_body_and_other_words_do(app: App, kind: str) -> None:
    server = serve(app, kind, swallow, retries=2, timeout="1m", colour="red")
    await server.run()
    assert server.result == {"colour": "red"}


@KINDS
async def test_an_option_that_is_also_a_parameter_of_the_body_is_refused(app: App, kind: str) -> None:
    called = await serve(app, kind, with_own, timeout=5).call()
    assert called.response.status == 400
    assert "has a parameter of that name: pass functools.partial(fn, timeout=…)" in called.json["message"]


@KINDS
@pytest.mark.parametrize(
    ("fn", "args", "options", "got"),
    [
        (functools.partial(with_own, timeout=5), (), {"timeout": 60}, [5, 0]),
        (with_own, (7,), {"timeout": 60}, [7, 0]),
        (with_own, (), {"retry": 4}, [0, 4]),
    ],
)
async def test_a_parameter_of_the_body_can_have_the_name_of_an_option(
    app: App, kind: str, fn: Any, args: Any, options: Any, got: list[int]
) -> None:
    server = serve(app, kind, fn, *args, **options)
    await server.run()
    assert server.result == got


@KINDS
@pytest.mark.parametrize("given", [0, -1, "soon"])
async def test_a_timeout_that_is_none_is_refused(app: App, kind: str, given: Any) -> None:
    called = await serve(app, kind, swallow, timeout=given).call()
    assert called.response.status == 400
    assert "step 'call' of function 'shop-f'" in called.json["message"]


# --- timeout ----------------------------------------------------------------------------------------------------------


def failure(called: Any) -> Any:
    [op] = called.ops
    assert op["op"] == "StepError"
    return op["error"]


@KINDS
async def test_an_async_body_is_cancelled_and_the_attempt_fails(app: App, kind: str) -> None:
    ledger: list[str] = []

    async def hang() -> None:
        ledger.append("begins")
        try:
            await asyncio.Event().wait()
        finally:
            ledger.append("cleans up")

    error = failure(await serve(app, kind, hang, timeout=0.05).call())
    assert (error["name"], error["code"]) == ("StepTimeoutError", "step_timeout")
    assert "step 'call' of function 'shop-f', run " in error["message"]
    assert "its timeout of 0.05 s" in error["message"]
    assert ledger == ["begins", "cleans up"]


@KINDS
async def test_a_sync_body_is_abandoned_and_the_attempt_fails_at_once(app: App, kind: str) -> None:
    ended, go_on = threading.Event(), threading.Event()

    def hang() -> str:
        go_on.wait(FOREVER)
        ended.set()
        return "too late"

    called = await serve(app, kind, hang, timeout=0.05).call()
    assert failure(called)["name"] == "StepTimeoutError"
    assert not ended.is_set()
    go_on.set()
    assert await asyncio.to_thread(ended.wait, 5)


@KINDS
async def test_a_body_that_ends_in_time_gives_its_value_or_its_own_error(app: App, kind: str) -> None:
    async def value() -> int:
        await asyncio.sleep(0)
        return 7

    def lazily() -> Any:
        return value()

    def fail() -> None:
        raise TimeoutError("of the bank")

    def nothing() -> None:
        next(iter([]))

    for n, (fn, expected) in enumerate([(value, 7), (lazily, 7), (lambda: 8, 8)]):
        server = serve(App(f"shop{n}", dev=False), kind, fn, timeout=60)
        server.function = f"shop{n}-f"
        await server.run()
        assert server.result == expected
    error = failure(await serve(app, kind, fail, timeout=60).call())
    assert (error["name"], error["message"]) == ("TimeoutError", "of the bank")
    server = serve(App("other", dev=False), kind, nothing, timeout=60)
    server.function = "other-f"
    assert failure(await server.call())["name"] != "StepTimeoutError"


@KINDS
async def test_a_result_that_arrives_although_the_body_was_cancelled_counts(app: App, kind: str) -> None:
    async def finish_anyway() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "charged"
        return "?"

    server = serve(app, kind, finish_anyway, timeout=0.05)
    await server.run()
    assert server.result == "charged"


@KINDS
async def test_a_body_with_a_timeout_knows_its_step(app: App, kind: str) -> None:
    async def nested(ctx: Any) -> Any:
        made = ctx.step.run("inner", int)
        return await made if asyncio.iscoroutine(made) else made

    async def in_async(ctx: Context) -> Any:
        return await ctx.step.run("outer", nested, ctx, timeout=60)

    def in_sync(ctx: SyncContext) -> Any:
        return ctx.step.run("outer", nested, ctx, timeout=60)

    app.function(id="f", trigger=Event("t/a"))(in_async if kind == "async" else in_sync)
    [op] = (await FakeServer(app, "shop-f").call()).ops
    assert (op["op"], op["error"]["name"]) == ("StepFailed", "NestedStepError")


# --- on and never -----------------------------------------------------------------------------------------------------


class Declined(ConnectionError):
    pass


POLICIES = [
    (Retries(on=ConnectionError), ConnectionError(), True),
    (Retries(on=ConnectionError), Declined(), True),
    (Retries(on=ConnectionError), ValueError(), False),
    (Retries(on=[ConnectionError, ValueError]), ValueError(), True),
    (Retries(never=Declined), Declined(), False),
    (Retries(never=Declined), ConnectionError(), True),
    (Retries(on=ConnectionError, never=(Declined,)), Declined(), False),
    (Retries(on=ConnectionError), RetryAfterError("busy", 60), True),
    (Retries(never=RetryAfterError), RetryAfterError("busy", 60), False),
    (Retries(on=Exception), NonRetriableError("no"), False),
    (Retries(on=TimeoutError), StepTimeoutError("late"), True),
    (Retries(on=ConnectionError), ExceptionGroup("both", [ValueError(), ConnectionError()]), True),
    (Retries(on=ConnectionError), ExceptionGroup("both", [ValueError(), TypeError()]), False),
]


def raise_(error: BaseException) -> None:
    raise error


@KINDS
@pytest.mark.parametrize(("policy", "error", "again"), POLICIES)
async def test_the_class_of_an_error_decides_whether_a_step_is_retried(
    app: App, kind: str, policy: Retries, error: BaseException, *, again: bool
) -> None:
    [op] = (await serve(app, kind, raise_, error, retries=policy).call()).ops
    assert op["op"] == ("StepError" if again else "StepFailed")
    assert op["error"].get("noRetry", False) is not again


@pytest.mark.parametrize(("policy", "error", "again"), POLICIES)
async def test_it_decides_for_a_functions_own_code_and_for_its_steps_too(
    app: App, policy: Retries, error: BaseException, *, again: bool
) -> None:
    @app.function(id="f", trigger=Event("t/a"), retries=policy)
    async def f(ctx: Context) -> None:
        await asyncio.sleep(0)
        raise error

    @app.function(id="g", trigger=Event("t/a"), retries=policy)
    async def g(ctx: Context) -> None:
        await ctx.step.run("a", raise_, error)

    called = await FakeServer(app, "shop-f").call()
    assert called.response.status == (500 if again else 400)
    assert called.response.headers.get("x-inngest-no-retry") == (None if again else "true")
    [op] = (await FakeServer(app, "shop-g").call()).ops
    assert op["op"] == ("StepError" if again else "StepFailed")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"on": "ConnectionError"}, "not an exception class"),
        ({"on": ConnectionError()}, "not an exception class"),
        ({"never": [int]}, "not an exception class"),
        ({"on": ()}, "max_retries=0"),
        ({"on": NonRetriableError}, "NonRetriableError, which is never retried"),
    ],
)
def test_a_policy_over_something_else_than_exceptions_is_refused(options: Any, said: str) -> None:
    with pytest.raises(BadRetriesError, match=said):
        Retries(**options)
