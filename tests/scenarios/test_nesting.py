"""Arrays and objects within each other: up to the limit they travel everywhere, beyond it they are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from milepost import App, Context, Event, FunctionRef, NonRetriableError, StepError
from milepost.protocol import MAX_NESTING, Opcode, Request, Response, hash_step_id
from milepost_engine.codec import Json, dumps, loads
from milepost_engine.http.endpoints import accept_events
from milepost_engine.operations.actions import OperationError
from milepost_engine.ports import Target
from tests.bodies import noting

from .rig import Rig, rig, step

DEEPEST = MAX_NESTING


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


class OtherSdk:
    """Answers a discovery with given ops, as an app of another SDK may."""

    def __init__(self, answer: Callable[[Json], tuple[int, Json]]) -> None:
        self._answer = answer

    async def invoke(self, _: Target, request: Request) -> Response:
        status, body = self._answer(loads(request.body))
        return Response(status, {"x-inngest-sdk": "other:v1"}, dumps(body))


def listening(name: str = "y") -> App:
    app = App("a")

    @app.function(id="f", trigger=name, retries=0)
    async def f(ctx: Context) -> str:
        return ctx.event.id

    return app


async def run_with(answer: Callable[[Json], tuple[int, Json]]) -> dict[str, Any]:
    async with rig(listening()) as r:
        r.served.invoker = OtherSdk(answer)  # type: ignore[assignment]
        await r.send("y")
        return await r.only_run()


async def test_what_is_as_deep_as_it_may_be_travels_through_every_wrapper():
    app, heard = App("a"), []

    @app.function(id="child", triggers=[])
    async def child(ctx: Context) -> Any:
        return await ctx.step.run("deep", lambda: ctx.event.data["deep"])

    @app.function(id="f", trigger="y")
    async def f(ctx: Context) -> Any:
        here = await ctx.step.invoke("call", child, {"deep": nested(DEEPEST - 1)})
        return await ctx.step.run("more", lambda: {"a": here})

    @app.function(id="listener", trigger=Event("inngest/function.finished", if_="event.data.function_id == 'a-f'"))
    async def finished(ctx: Context) -> None:
        heard.append((ctx.event.data["event"]["data"], ctx.event.data["result"]))

    @app.function(id="waits", trigger="before")
    async def waits(ctx: Context) -> bool:
        ended = await ctx.step.wait_for_event("end", "inngest/function.finished", timeout="1h")
        await ctx.step.run("after", lambda: 1)
        return ended is not None

    async with rig(app) as r:
        await r.send("before")
        await r.send("y", nested(DEEPEST))
        run = await r.only_run("a-f")
        assert (run["status"], run["output"]) == ("Completed", nested(DEEPEST)), run["error"]
        assert heard == [(nested(DEEPEST), nested(DEEPEST))]
        assert (await r.only_run("a-waits"))["output"] is True


@pytest.mark.parametrize("levels", [DEEPEST + 1, 197, 198])
async def test_an_event_that_is_too_deep_is_refused_by_name_and_those_before_it_are_taken(levels: int):
    async with rig(listening()) as r:
        body = dumps([{"name": "y", "id": "g1"}, {"name": "y", "data": nested(levels)}, {"name": "y", "id": "g2"}])
        answer = await accept_events(r.engine, body, "")
        refusal: Any = loads(answer.body)
        assert (answer.status, len(refusal["ids"])) == (400, 1)
        assert refusal["error"].startswith(f"[MP323] event 'y' has data nested more than {DEEPEST} levels deep")
        await r.settle()
        assert (await r.only_run())["output"] == "g1"


async def test_events_that_no_reader_of_json_takes_are_refused_with_the_limit():
    async with rig(listening()) as r:
        answer = await accept_events(
            r.engine, b'[{"name":"y","data":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}]", ""
        )
        assert answer.status == 400
        refused: Any = loads(answer.body)
        assert "MP323" in refused["error"]
        read = await r.engine.accept({"name": "y", "data": nested(5000)})
        assert "[MP323] event 'y'" in read.problem


async def test_an_event_that_cannot_be_accepted_does_not_affect_its_neighbours():
    async with rig(listening()) as r:
        await r.engine.accept([{"name": "y", "id": "g1"}, {"name": "y", "id": "bad"}, {"name": "y", "id": "g2"}])
        observed = r.engine.intake.observer
        refused: list[str] = []

        class Stumbles:
            def __getattr__(self, name: str) -> Any:
                return getattr(observed, name)

            def run_started(self, run: Any) -> None:
                if not refused:
                    refused.append(run.run_id)
                    raise LookupError(run.run_id)

        object.__setattr__(r.engine.intake, "observer", Stumbles())
        problems: list[Exception] = []

        async def handle(received: Any) -> None:
            try:
                await r.engine.handle(received.body)
            except LookupError as problem:
                problems.append(problem)

        await r.queue.drain(handle)
        assert [str(problem) for problem in problems] == refused
        assert len([run for run in await r.runs() if run["status"] == "Completed"]) == 2


async def test_a_result_that_is_too_deep_fails_its_step_at_once_and_names_step_function_and_run():
    app = App("a")
    tries: list[Any] = []

    @app.function(id="f", trigger="y", retries=3)
    async def f(ctx: Context) -> str:
        try:
            await ctx.step.run("deep", noting(tries, 1, nested(DEEPEST + 1)))
        except StepError as failed:
            return failed.message
        return "came through"

    async with rig(app) as r:
        await r.send("y")
        run = await r.only_run()
        assert tries == [1]
        for part in ("'deep'", "'a-f'", run["run_id"], str(DEEPEST)):
            assert part in run["output"]


async def test_a_function_whose_result_is_too_deep_fails_at_once():
    app, tries = App("a"), []

    @app.function(id="f", trigger="y", retries=3)
    async def f(ctx: Context) -> Any:
        tries.append(1)
        return nested(DEEPEST + 1)

    async with rig(app) as r:
        await r.send("y")
        run = await r.only_run()
        assert (run["status"], run["error"]["name"], tries) == ("Failed", "NotSerializableError", [1])
        assert "'a-f'" in run["error"]["message"]


async def test_data_for_an_invoked_function_that_is_too_deep_fails_the_run_at_once():
    app = App("a")

    @app.function(id="f", trigger="y", retries=3)
    async def f(ctx: Context) -> None:
        await ctx.step.invoke("call", FunctionRef("b", "g"), nested(DEEPEST + 1))

    async with rig(app) as r:
        await r.send("y")
        run = await r.only_run()
        assert (run["status"], run["error"]["name"]) == ("Failed", "NotSerializableError")
        for part in ("'call'", "'b-g'"):
            assert part in run["error"]["message"]


async def test_an_error_whose_data_is_too_deep_is_reported_without_it():
    app, heard = App("a"), []

    class Broken(NonRetriableError):
        data = nested(150)

    @app.function(id="f", trigger="y")
    async def f(ctx: Context) -> str:
        def breaks() -> None:
            raise Broken("no")

        try:
            await ctx.step.run("one", breaks)
        except StepError as failed:
            return f"{failed.message} {failed.data}"
        return "never"

    @app.function(id="listener", trigger=Event("inngest/function.finished", if_="event.data.function_id == 'a-f'"))
    async def finished(ctx: Context) -> None:
        heard.append(ctx.event.data["result"])

    async with rig(app) as r:
        await r.send("y")
        assert (await r.only_run("a-f"))["output"] == "no None"
        assert heard == ["no None"]


# --- of other SDKs --------------------------------------------------------------------------------------------------


async def test_a_step_of_another_sdk_whose_result_is_too_deep_fails_at_once():
    def answer(body: Any) -> tuple[int, Json]:
        if body["steps"]:
            return 200, body["steps"][hash_step_id("deep")]["error"]
        return 206, [
            {"id": hash_step_id("deep"), "op": Opcode.STEP_RUN, "displayName": "deep", "data": nested(DEEPEST + 1)}
        ]

    run = await run_with(answer)
    assert (run["output"]["name"], step(run, "deep")["status"]) == ("OutputTooDeep", "Failed")
    assert "'deep'" in run["output"]["message"]


@pytest.mark.parametrize("levels", [DEEPEST + 11, 195])
async def test_the_error_of_another_sdk_keeps_its_words_and_loses_data_that_is_too_deep(levels: int):
    def answer(body: Any) -> tuple[int, Json]:
        if body["steps"]:
            return 200, body["steps"][hash_step_id("bad")]["error"]
        error = {"name": "Broken", "message": "no", "stack": "here", "data": nested(levels)}
        return 206, [{"id": hash_step_id("bad"), "op": Opcode.STEP_FAILED, "displayName": "bad", "error": error}]

    run = await run_with(answer)
    assert run["output"] == {"name": "Broken", "message": "no", "stack": "here"}


@pytest.mark.parametrize("status", [200, 206])
async def test_a_function_of_another_sdk_whose_result_is_too_deep_fails_at_once(status: int):
    deep = nested(DEEPEST + 1)
    done = [{"id": hash_step_id("complete"), "op": Opcode.RUN_COMPLETE, "data": deep}]
    run = await run_with(lambda _: (status, deep if status == 200 else done))
    assert (run["status"], run["error"]["name"]) == ("Failed", "OutputTooDeep")
    assert "'a-f'" in run["error"]["message"]


async def test_an_invoke_of_another_sdk_with_data_that_is_too_deep_fails_the_run_at_once():
    opts = {"function_id": "b-g", "payload": {"data": nested(DEEPEST + 1)}}
    ops = [{"id": hash_step_id("call"), "op": Opcode.INVOKE_FUNCTION, "displayName": "call", "opts": opts}]
    run = await run_with(lambda _: (206, ops))
    assert (run["status"], run["error"]["name"]) == ("Failed", "InputTooDeep")
    for part in ("'call'", "'a-f'"):
        assert part in run["error"]["message"]


# --- by hand --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [nested(DEEPEST + 1), nested(5000), {"text": "x" * 3_200_000}])
async def test_data_for_a_replay_or_a_start_by_hand_has_the_limits_of_an_events_data(data: Any):
    async def refused(r: Rig, asked: Any) -> str:
        with pytest.raises(OperationError, match="MP323") as refused:
            await asked
        assert len(await r.runs()) == 1
        return str(refused.value)

    async with rig(listening()) as r:
        await r.send("y")
        run_id = (await r.only_run())["run_id"]
        assert run_id in await refused(r, r.engine.operations.replay(run_id, data=data))
        assert "'a-f'" in await refused(r, r.engine.starts.start("a-f", data, "01KK0000000000000000000000"))
