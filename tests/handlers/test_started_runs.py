"""A run is started from Python in a stack: by invoking its Lambda, if IAM permits it, or through its API with a key."""

from __future__ import annotations

from typing import Any

import pytest

from milepost import App, Context
from milepost.errors import ResultTimeoutError, RunCancelledError, RunFailedError, RunRefusedError, SendError
from milepost_handlers import runs

from .conftest import World
from .lambda_service import FunctionError
from .recorded import Context as LambdaContext
from .test_api import SIGNING_KEY, Ask, ask  # noqa: F401 - a fixture

ARN = "arn:aws:lambda:us-east-1:123456789012:function:runs"


def shop() -> tuple[App, Any, Any]:
    app = App("shop")

    @app.function(id="order", triggers=[], retries=0)
    async def order(ctx: Context) -> int:
        return await ctx.step.run("double", lambda: 2 * int(ctx.event.data["n"]))

    @app.function(id="slow", triggers=[])
    async def slow(ctx: Context) -> None:
        await ctx.step.sleep("nap", "1d")

    return app, order, slow


@pytest.fixture
def permitted(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The stack's Lambda for runs, and an app that knows it."""
    monkeypatch.setenv("MILEPOST_RUNS_FUNCTION", ARN)
    world.lambdas.functions[ARN] = lambda event: runs.handler(event, LambdaContext())
    return world


def test_a_permitted_caller_starts_a_run_and_gets_its_result(permitted: World):
    app, order, slow = shop()
    permitted.serve(app)
    run = order.start_sync({"n": 4}, id="a")
    assert run.status_sync() == "Running"
    with pytest.raises(ResultTimeoutError):
        run.result_sync(timeout=0)
    permitted.pump()
    assert run.result_sync() == 8
    assert order.start_sync({"n": 5}, id="a").id == run.id
    sleeping = slow.start_sync()
    permitted.pump()
    assert sleeping.cancel_sync("enough") is True
    permitted.pump()
    with pytest.raises(RunCancelledError, match="enough"):
        sleeping.result_sync()
    assert sleeping.cancel_sync() is False
    failing = order.start_sync({})
    permitted.pump()
    with pytest.raises(RunFailedError, match="KeyError"):
        failing.result_sync(timeout=0)


def test_a_start_whose_answer_was_lost_is_one_run(permitted: World):
    app, order, _ = shop()
    permitted.serve(app)
    lost: list[Any] = []

    def loses(event: Any) -> Any:
        answer = runs.handler(event, LambdaContext())
        if not lost:
            lost.append(answer)
            raise FunctionError("Sandbox.Timedout", "Task timed out")
        return answer

    permitted.lambdas.functions[ARN] = loses
    run = order.start_sync({"n": 4})
    permitted.pump()
    assert (len(lost), [row["run_id"] for row in permitted.runs()]) == (1, [run.id])


def test_a_lambda_that_is_not_there_or_not_permitted_is_named(permitted: World):
    _, order, _ = shop()
    with pytest.raises(RunRefusedError, match="There is no function 'shop-order'"):
        order.start_sync({"n": 4})
    del permitted.lambdas.functions[ARN]
    with pytest.raises((RunRefusedError, SendError), match="runs"):
        order.start_sync({"n": 4})


def test_the_api_takes_the_signing_key_and_nothing_else(world: World, ask: Ask):  # noqa: F811 - the fixture
    from milepost.protocol import bearer  # noqa: PLC0415

    app, _, _ = shop()
    world.serve(app)
    path = "/v1/functions/shop-order/runs"
    assert ask("POST", path, b'{"data": {"n": 1}}')[0] == 401
    assert ask("POST", path, b'{"data": {"n": 1}}', authorization=bearer("wrong"))[0] == 401
    status, body = ask("POST", path, b'{"data": {"n": 1}}', authorization=bearer(SIGNING_KEY))
    assert status == 200
    world.pump()
    one = f"{path}/{body['run_id']}"
    assert ask("GET", one)[0] == 401
    status, shown = ask("GET", one, authorization=bearer(SIGNING_KEY))
    assert (status, shown["status"], shown["output"]) == (200, "Completed", 2)
    assert ask("POST", f"{one}/cancel", authorization=bearer(SIGNING_KEY))[0] == 409
