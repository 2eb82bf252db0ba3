"""A replaced step is a step like any other; what was not replaced, or cannot be, is named."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from milepost import App, Context, FunctionRef, StepError, SyncContext
from milepost.errors import NotSerializableError
from milepost.testing import AwsHarness, Harness

BOTH = pytest.mark.parametrize("kind", [Harness, AwsHarness])


class Receipt(BaseModel):
    number: int
    note: str = ""


@dataclass
class Parcel:
    weight: float


def shop(bodies: list[str]) -> App:
    app = App("shop")

    async def charge() -> str:
        bodies.append("charge")
        return "real"

    @app.function(id="order", trigger="order")
    async def order(ctx: Context) -> str:
        try:
            paid = await ctx.step.run("charge card", charge)
        except StepError as failed:
            return f"{failed.name}: {failed.message}"
        await ctx.step.sleep("nap", "1h")
        return paid

    @app.function(id="mail", trigger="order")
    def mail(ctx: SyncContext) -> str:
        return ctx.step.run("send mail", lambda: "sent")

    @app.function(id="wait", trigger="wait")
    async def wait(ctx: Context) -> Any:
        found = await ctx.step.wait_for_event("answer", "answer", timeout="1h")
        return found and found.data

    return app


@BOTH
async def test_a_replaced_step_is_recorded_and_part_of_the_trace(kind: type[Harness]):
    bodies: list[str] = []
    async with kind(shop(bodies)) as h:
        h.replace_step("charge card", "free")
        await h.send("order")
        await h.advance("1h")
        run = await h.only_run("shop-order")
        assert (run["output"], bodies) == ("free", [])
        assert [span["output"] for span in run["trace"] if span["name"] == "charge card"] == ["free"]
        assert (await h.only_run("shop-mail"))["output"] == "sent"


async def test_other_functions_are_not_warned_of_a_step_that_they_do_not_have(caplog: pytest.LogCaptureFixture):
    async with Harness(shop([])) as h:
        h.replace_step("charge card", "free")
        await h.send("order")
        await h.advance("1h")
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == []


@BOTH
async def test_an_error_in_place_of_a_step_is_final_and_keeps_its_name(kind: type[Harness]):
    class CardStolenError(Exception):
        """The default retries of the function do not apply."""

    async with kind(shop([])) as h:
        h.replace_step("charge card", error=CardStolenError("stolen"))
        await h.send("order")
        assert (await h.only_run("shop-order"))["output"] == "CardStolenError: stolen"


async def test_a_misspelt_replacement_fails_the_test_and_names_the_steps_that_there_are():
    async with AsyncExitStack() as stack:
        h = await stack.enter_async_context(Harness(shop([])))
        h.replace_step("charge crad", 5)
        await h.send("order")
        said = (
            "replace_step('charge crad') replaced nothing: no function reached a step of that id. "
            "Did you mean 'charge card'? Reached were: 'charge card', "
        )
        with pytest.raises(AssertionError, match=re.escape(said)):
            await stack.aclose()


async def test_a_replacement_that_is_not_required_may_be_unused():
    async with Harness(shop([])) as h:
        h.replace_step("charge crad", 5, required=False)
        await h.send("order")


async def test_an_unused_replacement_says_why():
    async def failing(prepare: Any) -> str:
        with pytest.raises(AssertionError) as failed:
            async with Harness(shop([])) as h:
                await prepare(h)
        return str(failed.value)

    async def too_late(h: Harness) -> None:
        await h.send("order")
        h.replace_step("charge card", "late")
        await h.advance("1h")

    async def another_use(h: Harness) -> None:
        h.replace_step("charge card", "second", index=1)
        await h.send("order")

    async def nothing_ran(h: Harness) -> None:
        h.replace_step("charge card", 1)

    async def two(h: Harness) -> None:
        h.replace_step("a", 1)
        h.replace_step("b", 1)

    assert "had its result before it was replaced; call replace_step before" in await failing(too_late)
    said = await failing(another_use)
    assert "replace_step('charge card', index=1) replaced nothing: step 'charge card' was used at most 1 time" in said
    assert "no function reached a step; was an event sent that starts one?" in await failing(nothing_ran)
    assert "replace_step('a') replaced nothing" in await failing(two)
    assert "replace_step('b') replaced nothing" in await failing(two)


async def test_a_test_that_fails_is_not_told_about_unused_replacements():
    async def fail() -> None:
        async with Harness(shop([])) as h:
            h.replace_step("charge crad", 5)
            await h.advance("soon")

    with pytest.raises(ValueError, match="soon"):
        await fail()


async def test_closing_by_hand_tells_once():
    h = Harness(shop([]))
    await h.__aenter__()
    h.replace_step("typo")
    with pytest.raises(AssertionError, match="replaced nothing"):
        await h.close()
    await h.close()


@BOTH
async def test_a_wait_or_a_sleep_cannot_be_replaced_and_the_test_is_told_so(kind: type[Harness]):
    async with kind(shop([])) as h:
        h.replace_step("answer", {"n": 1})
        with pytest.raises(
            AssertionError,
            match=r"replace_step\('answer'\): in function 'shop-wait' this is a wait for an event, .*h\.se",
        ):
            await h.send("wait")
        # The run goes on as usual.
        await h.send("answer", {"n": 2})
        assert (await h.only_run("shop-wait"))["output"] == {"n": 2}
        h.replace_step("nap")
        with pytest.raises(AssertionError, match=r"in function 'shop-order' this is a sleep, .*h\.advance"):
            await h.send("order")


@pytest.mark.parametrize(
    "value",
    [object(), {"x": float("nan")}, {"x": [1, {2: object()}]}, "\ud800"],
    ids=["object", "nan", "object inside", "surrogate"],
)
async def test_a_result_that_json_cannot_represent_is_refused_at_once(value: object):
    async with Harness(shop([])) as h:
        with pytest.raises(NotSerializableError, match=r"replace_step\('charge card'\) has data that JSON cannot"):
            h.replace_step("charge card", value)


def typed() -> App:
    app = App("typed")

    def receipt() -> Receipt:
        raise AssertionError("the body runs")

    def parcels() -> list[Parcel]:
        raise AssertionError("the body runs")

    @app.function(id="f", trigger="go", retries=0)
    async def f(ctx: Context) -> Any:
        got = await ctx.step.run("receipt", receipt)
        two = await ctx.step.run("parcels", parcels)
        await ctx.step.sleep("so that it is replayed", "1s")
        assert isinstance(got, Receipt)
        return [got.number, [parcel.weight for parcel in two]]

    return app


@pytest.mark.parametrize("result", [{"number": 7}, Receipt(number=7)], ids=["dict", "model"])
async def test_a_step_with_an_annotation_returns_its_type(result: object):
    async with Harness(typed()) as h:
        h.replace_step("receipt", result)
        h.replace_step("parcels", [Parcel(1.5)])
        await h.send("go")
        await h.advance("1s")
        assert (await h.only_run())["output"] == [7, [1.5]]


async def test_a_replacement_of_the_wrong_type_fails_the_step_and_says_so():
    async with Harness(typed()) as h:
        h.replace_step("receipt", {"nummer": 7})
        await h.send("go")
        error = (await h.only_run())["error"]
        assert error["name"] == "NotSerializableError"
        assert error["message"].startswith("the replacement of step 'receipt' returned a value that does not match its")


async def test_a_replacement_may_not_be_larger_than_a_result():
    async with Harness(shop([])) as h:
        h.replace_step("charge card", "x" * (4 * 1024 * 1024))
        await h.send("order")
        assert (await h.only_run("shop-order"))["output"].startswith("PayloadTooLargeError: ")


def callers(started: list[str]) -> App:
    app = App("a")

    @app.function(id="child", triggers=[])
    async def child(ctx: Context) -> Receipt:
        started.append("child")
        return Receipt(number=1)

    @app.function(id="parent", trigger="go")
    async def parent(ctx: Context) -> Any:
        own = await ctx.step.invoke("own", child, {})
        other = await ctx.step.invoke("other", FunctionRef("elsewhere", "f"), {})
        return [own.number, other]

    @app.function(id="sync", trigger="sync")
    def sync(ctx: SyncContext) -> Any:
        return ctx.step.invoke("other", FunctionRef("elsewhere", "f"), {})

    return app


@BOTH
async def test_a_replaced_invoke_starts_no_function(kind: type[Harness]):
    started: list[str] = []
    async with kind(callers(started)) as h:
        h.replace_step("own", Receipt(number=7))
        h.replace_step("other", {"n": 8})
        await h.send("go")
        assert (await h.only_run("a-parent"))["output"] == [7, {"n": 8}]
        await h.send("sync")
        assert (await h.only_run("a-sync"))["output"] == {"n": 8}
        assert (started, await h.runs("a-child")) == ([], [])


@pytest.mark.parametrize("mode", ["step", "checkpoint"])
async def test_one_of_several_uses_and_parallel_steps_are_replaced(mode: Any):
    app = App("a")

    @app.function(id="f", trigger="go", mode=mode)
    async def f(ctx: Context) -> list[int]:
        looped = [await ctx.step.run("in a loop", lambda: 0) for _ in range(3)]
        both = await asyncio.gather(ctx.step.run("left", lambda: 1), ctx.step.run("right", lambda: 2))
        return [*looped, *both]

    async with Harness(app) as h:
        h.replace_step("in a loop", 7, index=1)
        h.replace_step("right", 8)
        await h.send("go")
        assert (await h.only_run())["output"] == [0, 7, 0, 1, 8]


async def test_a_replay_with_new_input_uses_the_replacement_too():
    bodies: list[str] = []
    async with Harness(shop(bodies)) as h:
        await h.send("order")
        await h.advance("1h")
        h.replace_step("charge card", "free")
        first = await h.only_run("shop-order")
        again = await h.replay(first["run_id"])
        await h.advance("1h")
        outputs = {run["run_id"]: run["output"] for run in await h.runs("shop-order")}
        assert (outputs[again.run_id], bodies) == ("free", ["charge"])


async def test_two_apps_of_one_id_are_refused_as_by_the_dev_server():
    with pytest.raises(ValueError, match="two apps have the id 'shop'"):
        async with Harness(shop([]), shop([])):
            pass
