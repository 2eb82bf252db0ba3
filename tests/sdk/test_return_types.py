"""A step's value comes back as the type that the author of its code wrote, however the callable is wrapped."""

from __future__ import annotations

import functools
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Generator, Iterable, Iterator
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Self

import pytest
from pydantic import BaseModel

from milepost import App, Context, Event, FunctionRef

from .fake_server import FakeServer
from .foreign_decorators import Counted, timed, timed_async

MOMENT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


class Invoice(BaseModel):
    number: str = "a"

    @classmethod
    def load(cls) -> Self:
        return cls(number="loaded")

    def copied(self) -> Self:
        return self.model_copy()

    def all(self) -> list[Self]:
        return [self]

    def maybe(self) -> Self | None:
        return self

    @timed
    def decorated(self) -> Self:
        return self


class Credit(Invoice):
    reason: str = "none"


class Stored(typing.TypedDict):
    at: datetime
    price: typing.NotRequired[Decimal]


@timed
def wrapped() -> Invoice:
    return Invoice()


@timed_async
async def wrapped_async() -> Invoice:
    return Invoice()


@Counted
def counted() -> Invoice:
    return Invoice()


@Counted
@timed
@timed
def wrapped_often() -> Invoice:
    return Invoice()


@functools.lru_cache
def cached() -> Invoice:
    return Invoice()


@functools.singledispatch
def dispatched(of: object = None) -> Invoice:
    return Invoice()


async def fetch() -> Invoice:
    return Invoice()


def awaitable() -> Awaitable[Invoice]:
    return fetch()


def coroutine() -> Coroutine[Any, Any, Invoice]:
    return fetch()


def either() -> Invoice | Awaitable[Invoice]:
    return fetch()


def generator() -> Generator[Invoice, None, None]:
    yield Invoice()


def iterator() -> Iterator[Invoice]:
    yield Invoice()


def iterable() -> Iterable[Invoice]:
    return (Invoice() for _ in range(1))


def collection() -> Collection[Invoice]:
    return [Invoice()]


def nested() -> dict[str, Iterable[Invoice]]:
    return {"all": [Invoice()]}


def a_set() -> AbstractSet[datetime]:
    return frozenset({MOMENT})


def typed_dict() -> Stored:
    return {"at": MOMENT, "price": Decimal("1.10")}


def typed_dicts() -> list[Stored]:
    return [{"at": MOMENT}]


def in_cents(fn: Callable[[], Invoice]) -> Callable[[], Decimal]:
    @functools.wraps(fn, assigned=("__name__", "__module__"))
    def inner() -> Decimal:
        return Decimal("1.10")

    return inner


@in_cents
def converted() -> Invoice:
    return Invoice()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (wrapped, Invoice()),
        (wrapped_async, Invoice()),
        (counted, Invoice()),
        (wrapped_often, Invoice()),
        (cached, Invoice()),
        (functools.partial(dispatched, 1), Invoice()),
        (functools.partial(wrapped), Invoice()),
        (Invoice.load, Invoice(number="loaded")),
        (Credit.load, Credit(number="loaded")),
        (Credit(reason="late").copied, Credit(reason="late")),
        (Invoice().all, [Invoice()]),
        (Invoice().maybe, Invoice()),
        (Invoice().decorated, Invoice()),
        (awaitable, Invoice()),
        (coroutine, Invoice()),
        (either, Invoice()),
        (generator, [Invoice()]),
        (iterator, [Invoice()]),
        (iterable, [Invoice()]),
        (collection, [Invoice()]),
        (nested, {"all": [Invoice()]}),
        (a_set, frozenset({MOMENT})),
        (typed_dict, {"at": MOMENT, "price": Decimal("1.10")}),
        (typed_dicts, [{"at": MOMENT}]),
        (converted, Decimal("1.10")),
    ],
    ids=lambda value: getattr(value, "__name__", None) or type(value).__name__,
)
async def test_a_wrapped_callable_gives_the_type_of_its_inner_function(
    app: App, caplog: pytest.LogCaptureFixture, body: Any, expected: Any
) -> None:
    seen: list[Any] = []

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        seen.append(await ctx.step.run("a", body))
        await ctx.step.sleep("nap", 1)

    await FakeServer(app, "shop-f").run()
    assert seen == [expected, expected]
    assert [type(each) for each in seen] == [type(expected)] * 2
    assert not caplog.text


class NotForPydantic:
    pass


def unsupported() -> NotForPydantic:
    return typing.cast("NotForPydantic", {"n": 1})


@pytest.mark.parametrize(
    ("body", "advice"),
    [(unsupported, "pydantic cannot read back"), (Invoice.copied, "bound to an object")],
    ids=["a type without a schema", "Self without an object"],
)
async def test_an_annotation_that_is_dropped_is_warned_of_with_advice_that_fits(
    app: App, caplog: pytest.LogCaptureFixture, body: Any, advice: str
) -> None:
    arguments = [Invoice()] if body is Invoice.copied else []

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> Any:
        return await ctx.step.run("a", body, *arguments)

    server = FakeServer(app, "shop-f")
    await server.run()
    assert isinstance(server.result, dict)
    assert "step 'a' of function 'shop-f'" in caplog.text
    assert advice in caplog.text
    assert "TYPE_CHECKING" not in caplog.text


async def test_a_function_whose_annotation_is_dropped_is_warned_of(app: App, caplog: pytest.LogCaptureFixture) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> NotForPydantic:
        return unsupported()

    await FakeServer(app, "shop-f").run()
    assert "function 'shop-f' has the return annotation" in caplog.text


async def test_an_invoked_function_whose_annotation_is_dropped_is_warned_of(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> Any:
        return await ctx.step.invoke("call", FunctionRef("shop", "child", NotForPydantic))

    server = FakeServer(app, "shop-f", wakes={"call": {"data": {"n": 1}}})
    await server.run()
    assert "step 'call' of function 'shop-f'" in caplog.text


async def test_an_async_generator_is_refused_with_its_name(app: App) -> None:
    async def rows() -> AsyncIterator[int]:
        yield 1

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("a", rows)

    [op] = (await FakeServer(app, "shop-f").call()).ops
    assert op["error"]["code"] == "not_serializable"
    assert "async_generator" in op["error"]["message"]


async def test_what_a_generator_raises_is_an_error_of_the_body_and_retried(app: App) -> None:
    def rows() -> Iterator[Invoice]:
        yield Invoice()
        raise ConnectionError("lost")

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        await ctx.step.run("a", rows)

    [op] = (await FakeServer(app, "shop-f").call()).ops
    assert (op["op"], op["error"]["name"]) == ("StepError", "ConnectionError")
