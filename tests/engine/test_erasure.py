"""What is erased is gone: rows, objects and index entries, over SQLite and over DynamoDB and S3 (moto's)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from milepost import App, Cancel, Context, Event, StepError
from milepost_console.testing.aws import AwsHarness
from milepost_console.testing.crashes import Crashed
from milepost_console.testing.harness import Harness
from milepost_engine.operations.actions import OperationError

SECRET = "4000-0025-0000-3155"


class MemoryHarness(Harness):
    """As the cloud, with timers in the table."""

    longest_delay_seconds = 900.0

    def dump(self) -> list[str]:
        """Every row and object, as text."""
        connection = self._environment._store.connection  # type: ignore[attr-defined]
        rows = connection.execute("SELECT pk, sk, body FROM items").fetchall()
        return [repr(row) for row in [*rows, *connection.execute("SELECT key FROM blobs").fetchall()]]


class CloudHarness(AwsHarness):
    longest_delay_seconds = 900.0

    def dump(self) -> list[str]:
        table, s3 = self.session.resource("dynamodb").Table(self.stack.table), self.session.client("s3")
        objects = s3.list_objects_v2(Bucket=self.stack.bucket).get("Contents", [])
        s3.close()
        return [*map(repr, table.scan()["Items"]), *(found["Key"] for found in objects)]


def shop() -> App:
    app = App("shop")

    @app.function(
        id="order", trigger=Event("order/created"), retries=2, cancel_on=[Cancel("order/cancelled", match="data.id")]
    )
    async def order(ctx: Context) -> str:
        await ctx.step.run("charge", lambda: ctx.event.data["card"])
        await ctx.step.run("print", lambda: random.Random(7).randbytes(20_000).hex())
        try:
            await ctx.step.invoke("ask", child, {"card": ctx.event.data["card"]})
        except StepError:
            await ctx.step.run("make up", lambda: "sorry")
        await ctx.step.wait_for_event("paid", Event("order/paid"), timeout="2h", match="data.id")
        await ctx.step.sleep("a while", "1m")
        raise ValueError(f"the card {ctx.event.data['card']} is refused")

    @app.function(id="child", triggers=[], retries=0)
    async def child(ctx: Context) -> None:
        raise ValueError("no")

    @app.function(id="watch", trigger=Event("inngest/function.failed"))
    async def watch(ctx: Context) -> str:
        return str(ctx.event.data["error"])

    return app


@pytest.fixture(params=[MemoryHarness, CloudHarness], ids=["sqlite", "aws"])
async def h(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    async with request.param(shop()) as harness:
        yield harness


async def start(h: Any) -> str:
    """Send an order, and let it wait for its payment; the run's id."""
    await h.send("order/created", {"id": "7", "card": SECRET, "scan": random.Random(1).randbytes(9_000).hex()})
    return str((await h.only_run("shop-order"))["run_id"])


async def erase_all(h: Any) -> None:
    for run in await h.runs():
        await h.engine.operations.erase(run["run_id"])


def traces(h: Any, *words: str) -> list[str]:
    return [row for row in h.dump() if any(word in row for word in words)]


async def test_nothing_of_a_cancelled_run_remains(h: Any):
    run_id = await start(h)
    assert any("T#" in row for row in traces(h, run_id)), "its timeout is a timer in the table"
    assert any("W#" in row for row in traces(h, run_id)), "its wait and its cancellation are in the index"
    await h.engine.operations.cancel(run_id)
    await h.until_idle()
    run = await h.engine.runs.load(run_id)
    assert run is not None
    await erase_all(h)
    assert traces(h, run_id, SECRET, *run.event_ids, "runs/", "events/") == []
    assert await h.runs() == []


async def test_nothing_of_a_failed_run_and_of_the_events_about_it_remains(h: Any):
    run_id = await start(h)
    await h.send("order/paid", {"id": "7"})
    await h.advance("10m")
    assert (await h.only_run("shop-order"))["status"] == "Failed"
    assert any(SECRET in run["output"] for run in await h.runs("shop-watch") if run["output"])
    await erase_all(h)
    assert traces(h, run_id, SECRET, "runs/") == []


async def test_an_event_that_another_run_has_is_kept_until_the_last_is_erased(h: Any):
    run_id = await start(h)
    await h.engine.operations.cancel(run_id)
    await h.until_idle()
    again = (await h.replay(run_id)).run_id
    await h.engine.operations.cancel(again)
    await h.until_idle()
    await h.engine.operations.erase(run_id)
    assert (await h.engine.queries.run(again))["event"]["data"]["card"] == SECRET
    await erase_all(h)
    assert traces(h, SECRET, run_id, again) == []


async def test_an_event_is_erased_with_its_ended_runs(h: Any):
    run_id = await start(h)
    event_id = (await h.only_run("shop-order"))["event_id"]
    with pytest.raises(OperationError, match="still Running"):
        await h.engine.operations.erase_event(event_id, with_runs=True)
    await h.engine.operations.cancel(run_id)
    await h.until_idle()
    await h.engine.operations.erase_event(event_id, with_runs=True)
    assert traces(h, f"R#{run_id}", f"runs/{run_id}", event_id) == []
    child = await h.only_run("shop-child")
    assert child["event"]["data"]["card"] == SECRET, "the run that it invoked keeps what it was given"


async def test_a_run_whose_event_was_erased_cannot_be_replayed(h: Any):
    run_id = await start(h)
    await h.engine.operations.cancel(run_id)
    await h.until_idle()
    await h.engine.operations.erase_event((await h.only_run("shop-order"))["event_id"])
    assert (await h.engine.queries.run(run_id))["event"] is None
    with pytest.raises(OperationError, match="MP304"):
        await h.engine.operations.replay(run_id)


@pytest.mark.parametrize("at", range(0, 120, 9))
async def test_an_erasure_that_stopped_anywhere_is_finished_by_asking_again(at: int):
    async with MemoryHarness(shop()) as h:
        run_id = await start(h)
        await h.engine.operations.cancel(run_id)
        await h.until_idle()
        h.crash_at(at)
        with suppress(Crashed):
            await h.engine.operations.erase(run_id)
        h._begin_life(None)
        await erase_all(h)
        assert traces(h, run_id, SECRET) == []
