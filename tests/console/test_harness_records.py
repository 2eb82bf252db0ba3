"""What a harness takes and returns is typed: functions and events go in, records with attributes come out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import BaseModel

from milepost import App, Context, Event, NewEvent, NonRetriableError
from milepost.errors import ConfigError, EventMismatchError
from milepost.testing import AwsHarness, Harness


class Order(BaseModel):
    id: str


ORDER = Event("order/created", Order)


async def test_runs_are_records_whose_fields_are_attributes_and_keys():
    app = App("a")

    @app.function(id="f", trigger=ORDER, retries=1)
    async def f(ctx: Context[Order]) -> str:
        await ctx.step.run("one", lambda: 1)
        if ctx.event.data.id == "bad":
            await ctx.step.run("two", _fails)
        return "done"

    @app.function(id="g", trigger="other")
    async def g(ctx: Context) -> None: ...

    async with Harness(app, start=datetime(2030, 1, 1, tzinfo=UTC)) as h:
        await h.send(ORDER.create(Order(id="7")))
        await h.send("other")
        run = await h.only_run(f)
        assert (run.status, run.output, run.error, run.function_id) == ("Completed", "done", None, "a-f")
        assert (run["status"], run["trace"][0]["name"]) == (run.status, run.trace[0].name)
        assert (run.step("one").output, run.step("one").kind, run.step("one").attempts[0].attempt) == (1, "run", 0)
        assert run.event["data"] == {"id": "7"}
        assert run.queued_at is not None
        assert run.ended_at is not None
        assert datetime(2030, 1, 1, tzinfo=UTC) <= run.queued_at <= run.ended_at
        with pytest.raises(LookupError, match=r"0 step\(s\) of the id 'three'; its steps are: 'one'"):
            run.step("three")
        await h.send(ORDER.create(Order(id="bad")))
        failed = (await h.runs(f))[0]
        assert failed.error is not None
        assert (failed.status, failed.error.name, failed.error.data) == ("Failed", "NonRetriableError", [1])
        error = failed.step("two").error
        assert error is not None
        assert error.message == "declined"
        assert [run.function_id for run in await h.runs(g)] == ["a-g"]


def _fails() -> None:
    raise NonRetriableError("declined", data=[1])


@pytest.mark.parametrize("made", [Harness, AwsHarness])
async def test_send_takes_what_an_app_sends(made: type[Harness]):
    app = App("a")

    @app.function(id="f", trigger=ORDER)
    async def f(ctx: Context[Order]) -> str:
        return ctx.event.data.id

    async with made(app) as h:
        ids = await h.send([ORDER.create(Order(id="1")), {"name": "order/created", "data": {"id": "2"}}])
        assert len(set(ids)) == 2
        assert await h.send(NewEvent("order/created", {"id": "3"}, id="x")) != ids
        assert await h.send([]) == []
        assert sorted(run.output for run in await h.runs(f)) == ["1", "2", "3"]
        with pytest.raises(ConfigError, match="has keys that events do not have: daat"):
            await h.send({"name": "order/created", "daat": {}})
        with pytest.raises(EventMismatchError):
            await h.send({"name": "order/created", "data": 7})
