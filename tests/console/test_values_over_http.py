"""Values and errors over the dev server, through HTTP, and in the harness: both give the same."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from milepost import App, Context, Event, NonRetriableError, StepError
from milepost.testing import Harness
from tests.sdk.foreign_decorators import timed

from .served import served


class Invoice(BaseModel):
    number: str = Field(validation_alias="invoiceNumber")


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    price: Decimal


@timed
def invoice() -> Invoice:
    return Invoice(invoiceNumber="a")


def secret() -> SecretStr:
    return SecretStr("hunter2")


def refuse() -> None:
    try:
        int("x")
    except ValueError as error:
        raise NonRetriableError("no", data={"why": 1}) from error


EXPECTED = {
    "price": "Decimal",
    "invoice": "Invoice(number='a')",
    "error": ["NonRetriableError", {"why": 1}, "ValueError"],
    "secret": True,
}


def values(mode: Any) -> App:
    app = App("values")

    @app.function(id="child", mode=mode, retries=0)
    async def child(ctx: Context) -> None:
        await ctx.step.run("refuse", refuse)

    @app.function(id="f", trigger=Event("go", Strict), mode=mode, retries=0)
    async def f(ctx: Context[Strict]) -> dict[str, object]:
        found: dict[str, object] = {"price": type(ctx.event.data.price).__name__}
        found["invoice"] = repr(await ctx.step.run("invoice", invoice))
        try:
            await ctx.step.invoke("child", child, {})
        except StepError as error:
            found["error"] = [error.name, error.data, error.cause.name if error.cause else None]
        try:
            await ctx.step.run("secret", secret)
        except StepError as error:
            found["secret"] = "get_secret_value" in error.message and "hunter2" not in error.message
        return found

    return app


@pytest.mark.parametrize("mode", ["step", "checkpoint"])
def test_models_come_back_and_errors_of_a_child_arrive_whole_over_the_dev_server(mode: Any) -> None:
    with served(values(mode)) as server:
        server.send({"name": "go", "data": {"price": "1.10"}})
        [run] = server.ended(1, function="values-f")
        assert server.get(f"/api/runs/{run['run_id']}")["output"] == EXPECTED


@pytest.mark.parametrize("mode", ["step", "checkpoint"])
async def test_models_come_back_and_errors_of_a_child_arrive_whole_in_the_harness(mode: Any) -> None:
    async with Harness(values(mode)) as h:
        await h.send("go", {"price": "1.10"})
        assert (await h.only_run("values-f"))["output"] == EXPECTED
