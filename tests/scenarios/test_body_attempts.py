"""The trace has every try of a function's body, the last one too, whatever it led to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, field_serializer, model_validator

from milepost import App, Cancel, Context, NonRetriableError, Retries, StepError

from .rig import START, names, rig, step

EVERY_10_S = Retries(max_retries=2, first_delay="10s", factor=1, jitter=0)


def tries(span: Mapping) -> list[tuple[int, str, str | None]]:
    return [(tried["attempt"], tried["status"], (tried["error"] or {}).get("message")) for tried in span["attempts"]]


async def test_the_last_try_of_a_body_that_fails_again_and_again_is_in_the_trace():
    app = App("a")

    @app.function(id="f", trigger="go", retries=EVERY_10_S)
    async def f(ctx: Context) -> None:
        raise ValueError(f"broken {ctx.attempt}")

    async with rig(app) as r:
        await r.send("go")
        await r.wind(60)
        run = await r.only_run()
    span = step(run, "(function)")
    assert tries(span) == [(0, "Failed", "broken 0"), (1, "Failed", "broken 1"), (2, "Failed", "broken 2")]
    assert (span["status"], span["error"]["message"], span["next_try_at"]) == ("Failed", "broken 2", None)
    assert (span["ended_at"], span["duration_ms"]) == (run["ended_at"], 20_000)
    assert span["attempts"][-1]["ended_at"] == run["ended_at"]


async def test_an_error_that_ends_a_body_at_its_first_try_is_in_the_trace():
    app = App("a")

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> None:
        await ctx.step.run("one", lambda: 1)
        raise NonRetriableError("never")

    async with rig(app) as r:
        await r.send("go")
        run = await r.only_run()
    assert sorted(names(run)) == ["(function)", "one"]
    span = step(run, "(function)")
    assert (span["status"], tries(span), span["error"]["message"]) == ("Failed", [(0, "Failed", "never")], "never")
    assert (span["ended_at"], span["duration_ms"]) == (run["ended_at"], 0)


@pytest.mark.patient
async def test_a_body_that_returned_after_failed_tries_shows_the_try_that_returned():
    app = App("a")

    @app.function(id="f", trigger="go", retries=EVERY_10_S)
    async def f(ctx: Context) -> str:
        if ctx.attempt < 2:
            raise ValueError("not yet")
        return "done"

    async with rig(app) as r:
        await r.send("go")
        await r.wind(60)
        run = await r.only_run()
    span = step(run, "(function)")
    assert tries(span) == [(0, "Failed", "not yet"), (1, "Failed", "not yet"), (2, "Completed", None)]
    assert (span["status"], span["output"], span["error"]) == ("Completed", "done", None)
    assert (span["ended_at"], span["duration_ms"]) == (run["ended_at"], 20_000)


@pytest.mark.patient
async def test_a_body_that_got_over_its_failure_is_not_shown_as_about_to_be_tried_again():
    app = App("a")

    @app.function(id="f", trigger="go", retries=EVERY_10_S)
    async def f(ctx: Context) -> None:
        if not ctx.attempt:
            raise ValueError("once")
        await ctx.step.sleep("nap", "1h")

    async with rig(app) as r:
        await r.send("go")
        span = step(await r.only_run(), "(function)")
        assert (span["status"], span["error"]["message"], span["ended_at"]) == ("Retrying", "once", None)
        assert span["next_try_at"] is not None
        await r.wind(60)
        span = step(await r.only_run(), "(function)")
        assert (span["status"], span["error"], span["next_try_at"]) == ("Running", None, None)
        assert tries(span) == [(0, "Failed", "once")]


@pytest.mark.patient
async def test_a_run_cancelled_between_two_tries_shows_those_that_were_made():
    app = App("a")

    @app.function(id="f", trigger="go", retries=EVERY_10_S, cancel_on=[Cancel("stop")])
    async def f(ctx: Context) -> None:
        raise ValueError("broken")

    async with rig(app) as r:
        await r.send("go")
        await r.wind(4)
        await r.send("stop")
        run = await r.only_run()
    span = step(run, "(function)")
    assert (span["status"], tries(span), span["next_try_at"]) == ("Cancelled", [(0, "Failed", "broken")], None)
    assert (span["ended_at"], span["duration_ms"]) == (run["ended_at"], 4000)


@pytest.mark.patient
@pytest.mark.parametrize("own", [None, "no payment"])
async def test_an_uncaught_error_of_a_step_is_shown_by_the_step_alone(own: str | None):
    app = App("a")

    @app.function(id="f", trigger="go", retries=0)
    async def f(ctx: Context) -> None:
        try:
            await ctx.step.run("charge", declined)
        except StepError as error:
            if own is None:
                raise
            raise RuntimeError(own) from error

    async with rig(app) as r:
        await r.send("go")
        await r.wind(timedelta(minutes=1))
        run = await r.only_run()
    assert run["status"] == "Failed"
    assert sorted(names(run)) == (["charge"] if own is None else ["(function)", "charge"])


def declined() -> None:
    raise ValueError("declined")


class UnreadableType(BaseModel):
    """Its validator raises what pydantic does not catch."""

    n: int = 1

    @model_validator(mode="before")
    @classmethod
    def check(cls, _: Any) -> Any:
        raise TypeError("not like this")


class UnreadableKey(UnreadableType):
    @model_validator(mode="before")
    @classmethod
    def check(cls, _: Any) -> Any:
        raise KeyError("n")


class Unwritable(BaseModel):
    n: int = 1

    @field_serializer("n")
    def write(self, _: int) -> int:
        raise RuntimeError("cannot be written")


def reading_back(kind: type[BaseModel], charged: list[str]) -> Callable[[], BaseModel]:
    def charge() -> BaseModel:
        charged.append(kind.__name__)
        return kind.model_construct(n=1)

    charge.__annotations__["return"] = kind
    return charge


@pytest.mark.parametrize("mode", ["step", "checkpoint"])
@pytest.mark.parametrize("kind", [UnreadableType, UnreadableKey, Unwritable])
async def test_a_body_whose_value_cannot_be_written_or_read_back_does_not_run_again(kind: type[BaseModel], mode: Any):
    app, charged = App("a"), list[str]()

    @app.function(id="f", trigger="go", mode=mode, retries=EVERY_10_S)
    async def f(ctx: Context) -> str:
        try:
            await ctx.step.run("charge", reading_back(kind, charged))
        except StepError as error:
            return f"{error.name}: {error.message}"
        return "no error"

    async with rig(app) as r:
        await r.send("go")
        await r.wind(120)
        run = await r.only_run()
    assert charged == [kind.__name__]
    assert run["output"].startswith("NotSerializableError: step 'charge' of function 'a-f', run ")


class Evil(Exception):
    """Reading anything of it that one might want to report fails."""

    @property
    def data(self) -> object:
        raise RuntimeError("no data for you")

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(f"no {name} for you")

    def __str__(self) -> str:
        raise RuntimeError("no text for you")


async def test_an_error_whose_attributes_raise_is_retried_as_any_other():
    app, charged = App("a"), list[int]()

    @app.function(id="f", trigger="go", retries=EVERY_10_S)
    async def f(ctx: Context) -> str:
        def charge() -> str:
            charged.append(ctx.attempt)
            if len(charged) < 3:
                raise Evil
            return "charged"

        return await ctx.step.run("charge", charge)

    async with rig(app) as r:
        await r.send("go")
        await r.wind(120)
        run = await r.only_run()
    assert (run["output"], charged) == ("charged", [0, 1, 2])
    assert [tried["error"]["name"] for tried in step(run, "charge")["attempts"][:2]] == ["Evil", "Evil"]


@pytest.mark.parametrize("microseconds", [0, 1, 456, 999])
async def test_a_sleep_until_never_ends_early(microseconds: int):
    app, until = App("a"), START + timedelta(seconds=1, microseconds=microseconds)

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> None:
        await ctx.step.sleep_until("nap", until)

    async with rig(app) as r:
        await r.send("go")
        await r.wind(timedelta(seconds=1))
        assert (await r.only_run())["status"] == ("Running" if microseconds else "Completed")
        await r.wind(1)  # SQS delays by whole seconds
        assert (await r.only_run())["status"] == "Completed"
