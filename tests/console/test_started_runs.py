"""A run is started from Python and asked for its result: on a dev server and in a harness, from async and sync code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import Request, urlopen

import pytest
from pydantic import BaseModel

from milepost import App, Context, Event, NonRetriableError
from milepost.errors import (
    ConfigError,
    EventMismatchError,
    ResultTimeoutError,
    RunCancelledError,
    RunFailedError,
    RunRefusedError,
)
from milepost.testing import AwsHarness, Harness

from .served import Served, served


class Order(BaseModel):
    id: str
    cents: int = 5


class Receipt(BaseModel):
    order: Order
    number: int


def shop(ledger: list[str], dev: str | None = None) -> tuple[App, Any, Any, Any]:
    """The app and three functions: one that completes, one that fails, one that waits for three days."""
    app = App("shop", dev=dev)

    @app.function(id="fulfil", trigger=Event("order/created", Order))
    async def fulfil(ctx: Context[Order]) -> Receipt:
        await ctx.step.run("charge", ledger.append, ctx.event.data.id)
        return Receipt(order=ctx.event.data, number=7)

    @app.function(id="fails", triggers=[], retries=0)
    async def fails(ctx: Context) -> None:
        raise NonRetriableError("card declined", data={"card": 4242})

    @app.function(id="slow", triggers=[])
    async def slow(ctx: Context) -> str:
        await ctx.step.sleep("nap", "3d")
        return "awake"

    return app, fulfil, fails, slow


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.delenv("MILEPOST_EVENT_URL", raising=False)
    monkeypatch.delenv("MILEPOST_API_URL", raising=False)
    with served() as running:
        yield running


# --- a dev server -------------------------------------------------------------------------------------------------


async def test_a_run_is_started_and_its_result_is_of_the_annotated_type(server: Served):
    ledger: list[str] = []
    app, fulfil, _, _ = shop(ledger, server.url)
    server.serve(app)
    run = await fulfil.start(Order(id="7"))
    assert run.function_id == "shop-fulfil"
    assert await run.result(timeout="20s") == Receipt(order=Order(id="7"), number=7)
    assert (await run.status(), ledger) == ("Completed", ["7"])
    assert await fulfil.run(run.id).result(timeout=0) == Receipt(order=Order(id="7"), number=7)
    assert await run.cancel() is False


def test_sync_code_does_the_same(server: Served):
    ledger: list[str] = []
    app, fulfil, fails, slow = shop(ledger, server.url)
    server.serve(app)
    run = fulfil.start_sync({"id": "7"})
    assert run.result_sync(timeout="20s") == Receipt(order=Order(id="7"), number=7)
    assert (run.status_sync(), run.cancel_sync(), ledger) == ("Completed", False, ["7"])
    with pytest.raises(RunFailedError):
        fails.start_sync().result_sync(timeout="20s")
    sleeping = slow.start_sync()
    with pytest.raises(ResultTimeoutError):
        sleeping.result_sync(timeout="200ms")
    assert sleeping.cancel_sync("enough") is True
    with pytest.raises(RunCancelledError, match="enough"):
        sleeping.result_sync(timeout="20s")


async def test_the_error_of_a_failed_run_has_its_name_its_message_and_its_data(server: Served):
    app, _, fails, _ = shop([], server.url)
    server.serve(app)
    run = await fails.start()
    with pytest.raises(RunFailedError) as failed:
        await run.result(timeout="20s")
    error = failed.value
    assert (error.name, error.message, error.data) == ("NonRetriableError", "card declined", {"card": 4242})
    assert (error.run_id, error.function_id) == (run.id, "shop-fails")
    assert str(error) == (
        f"run {run.id} of function 'shop-fails' failed: NonRetriableError: card declined. "
        "Fix the cause, then replay the run"
    )


async def test_a_timeout_does_not_cancel_the_run_and_a_cancelled_run_says_why(server: Served):
    app, _, _, slow = shop([], server.url)
    server.serve(app)
    run = await slow.start()
    with pytest.raises(TimeoutError, match=r"'shop-slow' has not ended within 0\.2 s; it is Running\. It is not"):
        await run.result(timeout="200ms")
    assert await run.status() == "Running"
    assert await run.cancel("the customer left") is True
    with pytest.raises(RunCancelledError, match=f"run {run.id} of function 'shop-slow' was cancelled:.*customer left"):
        await run.result(timeout="20s")


async def test_a_start_with_an_id_is_one_run_of_that_function(server: Served):
    ledger: list[str] = []
    app, fulfil, fails, _ = shop(ledger, server.url)
    server.serve(app)
    runs = await asyncio.gather(*(fulfil.start(Order(id=str(n)), id="order-7") for n in range(5)))
    assert len({run.id for run in runs}) == 1
    await runs[0].result(timeout="20s")
    assert (await fulfil.start(Order(id="9"), id="order-7")).id == runs[0].id
    assert len(ledger) == 1
    assert (await fails.start(id="order-7")).id != runs[0].id
    assert (await fulfil.start(Order(id="9"), id="order-9")).id != runs[0].id


class _LosesAnswers(BaseHTTPRequestHandler):
    """Passes requests on, and loses the first two answers to a POST."""

    target = ""
    lost: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        asked = Request(self.target + self.path, body, {"content-type": "application/json"}, method="POST")
        with urlopen(asked) as answer:
            text = answer.read()
        if len(self.lost) < 2:
            self.lost.append(body)
            self.close_connection = True
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


async def test_a_start_whose_answers_were_lost_is_one_run(server: Served):
    lost: list[bytes] = []
    handler = type("Handler", (_LosesAnswers,), {"target": server.url, "lost": lost})
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    try:
        ledger: list[str] = []
        app, fulfil, _, _ = shop(ledger, f"http://127.0.0.1:{proxy.server_address[1]}")
        server.serve(app)
        run = await fulfil.start(Order(id="7"))
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()
    server.ended(1)
    assert (len(lost), [row["run_id"] for row in server.runs()], ledger) == (2, [run.id], ["7"])


async def test_what_the_server_refuses_names_function_and_run(server: Served):
    app, fulfil, _, _ = shop([], server.url)
    with pytest.raises(RunRefusedError, match=r"function 'shop-fulfil' was not started: There is no function") as none:
        await fulfil.start(Order(id="7"))
    assert none.value.reason == "MP308"
    server.serve(app)
    nobody = fulfil.run("01KK0000000000000000000000")
    for asked in (nobody.status, nobody.result, nobody.cancel):
        with pytest.raises(RunRefusedError, match="There is no run 01KK0000000000000000000000 of function"):
            await asked()
    with pytest.raises(EventMismatchError, match="start of function 'shop-fulfil'"):
        await fulfil.start({"cents": 5})
    with pytest.raises(ConfigError, match="pass an object"):
        await fulfil.start(7)
    with pytest.raises(ConfigError, match="the id of a start has 0 characters"):
        await fulfil.start(Order(id="7"), id="")


async def test_an_app_without_a_server_says_what_to_set(monkeypatch: pytest.MonkeyPatch):
    for name in ("MILEPOST_DEV", "MILEPOST_EVENT_URL", "MILEPOST_API_URL", "MILEPOST_RUNS_FUNCTION"):
        monkeypatch.delenv(name, raising=False)
    _, fulfil, _, _ = shop([])
    with pytest.raises(ConfigError, match="'shop-fulfil': its app does not know where runs are: set MILEPOST_DEV=1"):
        await fulfil.start(Order(id="7"))


# --- a harness ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [Harness, AwsHarness])
async def test_in_a_harness_result_winds_the_clock(made: Callable[..., Harness]):
    ledger: list[str] = []
    app, fulfil, fails, slow = shop(ledger)
    async with made(app) as h:
        run = await fulfil.start(Order(id="7"), id="a")
        assert ledger == ["7"]
        assert await run.result() == Receipt(order=Order(id="7"), number=7)
        assert (await fulfil.start(Order(id="8"), id="a")).id == run.id
        with pytest.raises(RunFailedError, match="card declined"):
            await (await fails.start()).result()
        began = h.clock.now()
        sleeping = await slow.start()
        with pytest.raises(ResultTimeoutError):
            await sleeping.result(timeout="1d")
        assert await sleeping.status() == "Running"
        assert await sleeping.result() == "awake"
        assert 3 <= (h.clock.now() - began).total_seconds() / 86_400 < 3.1
        other = await slow.start()
        assert await other.cancel("enough")
        with pytest.raises(RunCancelledError, match="enough"):
            await other.result()


async def test_code_that_does_not_answer_ends_the_wait_for_its_result():
    app = App("a")

    @app.function(id="f", triggers=[])
    async def f(ctx: Context) -> None:
        await ctx.step.wait_for_event("go", "go", timeout="1h")
        await asyncio.Event().wait()

    async with Harness(app, longest_invocation=0.1):
        run = await f.start()
        with pytest.raises(AssertionError, match=r"function 'a-f', run .* did not answer within 0\.1 s"):
            await run.result()


async def test_sync_code_in_a_harness_runs_on_a_thread_and_is_told_so_on_the_loop():
    ledger: list[str] = []
    app, fulfil, _, _ = shop(ledger)
    async with Harness(app):
        with pytest.raises(AssertionError, match=r"await asyncio\.to_thread"):
            fulfil.start_sync(Order(id="7"))
        run = await asyncio.to_thread(fulfil.start_sync, Order(id="7"))
        assert (await asyncio.to_thread(run.result_sync)).number == 7


async def test_a_step_may_start_a_run_but_not_wait_for_it():
    ledger: list[str] = []
    app, fulfil, _, slow = shop(ledger)

    @app.function(id="parent", triggers=[])
    async def parent(ctx: Context) -> str:
        async def begin() -> str:
            return (await fulfil.start(Order(id="7"), id=ctx.run_id)).id

        return await ctx.step.run("begin", begin)

    @app.function(id="waits", triggers=[], retries=0)
    async def waits(ctx: Context) -> object:
        async def wait() -> object:
            return await (await slow.start()).result()

        return await ctx.step.run("wait", wait)

    async with Harness(app):
        started = await (await parent.start()).result()
        assert (await fulfil.run(str(started)).result()).number == 7
        with pytest.raises(RunFailedError, match=r"ctx\.step\.invoke"):
            await (await waits.start()).result()


async def test_a_start_survives_a_crash_at_any_point():
    at = 0
    while True:
        ledger: list[str] = []
        app, fulfil, _, _ = shop(ledger)
        async with Harness(app) as h:
            h.crash_at(at)
            run = await fulfil.start(Order(id="7"))
            assert (await run.result()).number == 7
            assert [each["run_id"] for each in await h.runs()] == [run.id]
            assert 1 <= len(ledger) <= 2
            if h.lives == 2:
                return
        at += 1


async def test_functions_that_start_each_other_for_ever_are_stopped():
    app = App("a", max_chain=3)
    ran: list[int] = []

    @app.function(id="again", triggers=[], retries=0)
    async def again(ctx: Context) -> None:
        await ctx.step.run("again", _begin, again, len(ran))
        ran.append(1)

    async def _begin(function: Any, number: int) -> str:
        return str((await function.start({"n": number})).id)

    async with Harness(app) as h:
        await again.start()
        runs = await h.runs()
        # Runs of one millisecond may be listed in either order.
        assert sorted(run.status for run in runs) == ["Completed", "Completed", "Completed", "Failed"]
        assert [run.error.name for run in runs if run.error] == ["EventLoopError"]
