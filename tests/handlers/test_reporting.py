"""A long-running function is invoked asynchronously: it is handed its calls, and reports its results."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from milepost import App, Context, Retries, SyncContext
from milepost_engine.runs.reports import INLINE_REPORT_BYTES
from tests.bodies import noting

from .conftest import World
from .lambda_service import Refusal
from .recorded import Context as LambdaContext
from .recorded import envelope, failure_record

AT_ONCE = Retries(max_retries=3, first_delay=0)
TIMED_OUT = {"errorType": "Sandbox.Timedout", "errorMessage": "RequestId: 1 Error: Task timed out after 900.00 seconds"}


def shop(done: list[str], mode: str = "step", body: Callable[[str], object] = str.upper) -> App:
    """Two steps; each writes its name down when it ran to its end."""
    app = App("shop", mode=mode, retries=AT_ONCE)  # type: ignore[arg-type]

    def step(name: str) -> object:
        value = body(name)
        done.append(name)
        return value

    @app.function(id="order", trigger="order/placed")
    def order(ctx: SyncContext) -> Any:
        return [ctx.step.run("charge", step, "charge"), ctx.step.run("mail", step, "mail")]

    return app


def begin(world: World, app: App) -> str:
    address = world.serve(app, timeout_seconds=900, reports=True)
    world.put(envelope("order/placed", {}))
    world.pump()
    return address


def the_event(world: World) -> tuple[str, Any]:
    [(name, body)] = world.lambdas.accepted
    return name, json.loads(body)


def reports(world: World) -> list[dict[str, Any]]:
    """What lies in the work queue; it stays there."""
    messages = world.receive(world.work_url)
    for message in messages:
        world.client("sqs").change_message_visibility(
            QueueUrl=world.work_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )
    return [json.loads(message["Body"]) for message in messages]


def only_run(world: World) -> dict[str, Any]:
    [run] = world.runs()
    return run


def attempts(run: dict[str, Any]) -> list[str]:
    return [attempt["error"]["name"] for span in run["trace"] for attempt in span["attempts"] if attempt["error"]]


# --- the way there and back -----------------------------------------------------------------------------------------


def test_the_orchestrator_is_done_before_the_step_begins(world: World):
    done: list[str] = []
    begin(world, shop(done))
    assert (done, world.receive(world.work_url)) == ([], [])
    assert [kind for _, kind in world.lambdas.calls] == ["Event"]
    assert only_run(world)["status"] == "Running"


def test_what_the_app_reports_takes_the_run_to_its_end(world: World):
    done: list[str] = []
    begin(world, shop(done))
    world.settle()
    assert (only_run(world)["output"], done) == (["CHARGE", "MAIL"], ["charge", "mail"])
    assert [kind for _, kind in world.lambdas.calls] == ["Event"] * 2


def test_a_checkpointing_function_saves_its_steps_and_reports_once(world: World):
    done: list[str] = []
    begin(world, shop(done, "checkpoint"))
    world.settle()
    assert (only_run(world)["output"], done) == (["CHARGE", "MAIL"], ["charge", "mail"])
    assert [kind for _, kind in world.lambdas.calls] == ["Event"]


def test_a_run_is_measured_as_if_it_had_been_waited_for(world: World, capsys: pytest.CaptureFixture[str]):
    begin(world, shop([]))
    world.settle()
    output = capsys.readouterr().out
    assert [name for name in ("FirstStepDelay", "StepLatency", "RunsCompleted") if f'"{name}"' not in output] == []


def branches(done: list[str]) -> App:
    app = App("shop")

    @app.function(id="order", trigger="order/placed")
    async def order(ctx: Context) -> Any:
        steps = [ctx.step.run(name, noting(done, name, name)) for name in ("a", "b", "c")]
        return await asyncio.gather(*steps)

    return app


def test_parallel_steps_are_under_way_at_once_and_joined_once(world: World):
    done: list[str] = []
    begin(world, branches(done))
    world.deliver()
    world.pump()
    assert len(world.lambdas.accepted) == 3
    world.settle()
    assert (only_run(world)["output"], sorted(done)) == (["a", "b", "c"], ["a", "b", "c"])
    assert len(world.lambdas.calls) == 5  # found, one each, joined


def test_a_call_that_only_looks_is_waited_for(world: World):
    app = App("shop")

    @app.function(id="order", trigger="order/placed")
    async def order(ctx: Context) -> Any:
        async def slept() -> str:
            await ctx.step.sleep("rest", 0)
            return await ctx.step.run("after", lambda: "after")

        return await asyncio.gather(slept(), ctx.step.run("long", lambda: "long"))

    begin(world, app)
    world.settle()
    assert only_run(world)["output"] == ["after", "long"]
    assert {kind for _, kind in world.lambdas.calls} == {"Event", "RequestResponse"}


def test_a_call_carries_little_and_the_app_loads_the_rest(world: World):
    done: list[str] = []
    app = shop(done, body=lambda name: name * 60_000)
    begin(world, app)
    world.deliver()
    world.pump()
    [(_, body)] = world.lambdas.accepted
    assert len(body) < 10_000
    world.settle()
    assert [len(each) for each in only_run(world)["output"]] == [360_000, 240_000]


def test_a_large_answer_goes_by_the_bucket_and_is_erased_with_its_run(world: World):
    begin(world, shop([], body=lambda name: "\uffff" + name * INLINE_REPORT_BYTES))
    world.deliver()
    [report] = reports(world)
    assert "body" not in report
    assert len(json.dumps(report)) < 1000
    world.settle()
    run = only_run(world)
    bucket = world.here.engine.orchestrator.inputs.blobs
    assert run["status"] == "Completed"
    assert world.here.run(bucket.get(report["body_ref"])) is not None
    world.here.run(world.here.engine.operations.erase(run["run_id"]))
    assert world.here.run(bucket.get(report["body_ref"])) is None


def test_a_run_whose_alias_leads_to_code_that_reports_no_more_is_waited_for(world: World):
    app = shop([])
    address = begin(world, app)
    world.deliver()
    world.serve(app, address, timeout_seconds=30)
    world.here.engine.registry.forget()
    world.pump()
    assert only_run(world)["output"] == ["CHARGE", "MAIL"]
    assert [kind for _, kind in world.lambdas.calls] == ["Event", "RequestResponse"]


# --- twice, late, in vain -------------------------------------------------------------------------------------------


def test_a_report_that_comes_twice_leads_on_once(world: World):
    done: list[str] = []
    begin(world, shop(done))
    world.deliver()
    [report] = reports(world)
    world.pump()
    assert len(world.lambdas.accepted) == 1
    world.deliver_record(report)
    world.pump()
    assert len(world.lambdas.accepted) == 1
    world.settle()
    world.deliver_record(report)
    assert world.pump() == []
    assert done == ["charge", "mail"]


def test_an_event_that_lambda_delivers_twice_runs_nothing_that_was_recorded(world: World):
    done: list[str] = []
    begin(world, shop(done))
    name, event = the_event(world)
    assert world.deliver() == [{"reported": True}]
    world.pump()
    assert world.call(name, event) == {"reported": False}
    assert done == ["charge"]


def test_a_run_that_was_cancelled_meanwhile_stays_so(world: World):
    done: list[str] = []
    begin(world, shop(done))
    world.deliver()
    world.here.run(world.here.engine.operations.cancel(only_run(world)["run_id"]))
    world.pump()
    world.settle()
    assert (only_run(world)["status"], done, world.lambdas.accepted) == ("Cancelled", ["charge"], [])


def test_a_checkpointing_function_whose_run_is_cancelled_during_a_step_begins_no_other(world: World):
    done: list[str] = []

    def cancelled_meanwhile(name: str) -> str:
        world.client("dynamodb").update_item(
            TableName=world.table, Key={"pk": {"S": "F#shop-order"}, "sk": {"S": run_id}},
            UpdateExpression="SET #status = :ended", ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":ended": {"S": "Cancelled"}},
        )  # fmt: skip
        return name

    begin(world, shop(done, "checkpoint", cancelled_meanwhile))
    _, event = the_event(world)
    run_id = event["milepost"]["run"]
    world.deliver()
    assert done == ["charge"]


def test_a_call_whose_run_was_cancelled_does_not_begin(world: World):
    done: list[str] = []
    begin(world, shop(done))
    world.here.run(world.here.engine.operations.cancel(only_run(world)["run_id"]))
    world.pump()
    assert (world.deliver(), done) == ([{"reported": False}], [])


def begin_twice(world: World, app: App) -> list[Any]:
    """The orchestrator died after it had handed the call over, and its message came again; both events."""
    world.serve(app, timeout_seconds=900, reports=True)
    world.put(envelope("order/placed", {}))
    [message] = world.receive(world.work_url)
    from milepost_handlers.orchestrator import handler  # noqa: PLC0415 - after the environment is set

    for receives in (1, 2):
        handler({"Records": [world.record(message["Body"], world.work_url, receives)]}, LambdaContext())
    return [json.loads(body) for _, body in world.lambdas.accepted]


def test_the_call_of_an_owner_before_does_not_begin(world: World):
    done: list[str] = []
    begin_twice(world, shop(done))
    assert world.deliver() == [{"reported": False}, {"reported": True}]
    world.settle()
    assert done == ["charge", "mail"]


@pytest.mark.parametrize("mode", ["step", "checkpoint"])
def test_the_failure_of_a_call_of_an_owner_before_costs_no_attempt(world: World, mode: str):
    first, _ = begin_twice(world, shop([], mode))
    world.deliver_record(failure_record(first, "RetriesExhausted", TIMED_OUT))
    world.settle()
    run = only_run(world)
    assert (run["status"], attempts(run)) == ("Completed", [])


def test_of_two_answers_to_one_call_the_first_counts_and_leads_on(world: World):
    """Both had begun before anything was recorded: as with any step, that may happen."""
    begin(world, shop([]))
    name, event = the_event(world)
    world.lambdas.accepted.clear()
    world.call(name, event)
    world.call(name, event)
    world.pump()
    assert len(world.lambdas.accepted) == 1
    world.settle()
    assert only_run(world)["output"] == ["CHARGE", "MAIL"]


# --- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["step", "checkpoint"])
def test_a_failed_invocation_costs_one_attempt_however_often_lambda_reports_it(world: World, mode: str):
    done: list[str] = []
    begin(world, shop(done, mode))
    _, event = the_event(world)
    world.lambdas.accepted.clear()
    for _ in range(2):
        world.deliver_record(failure_record(event, "RetriesExhausted", TIMED_OUT))
    world.settle()
    world.deliver_record(failure_record(event, "RetriesExhausted", TIMED_OUT))
    assert world.pump() == []
    run = only_run(world)
    assert (run["status"], attempts(run), done) == ("Completed", ["InvocationTimeout"], ["charge", "mail"])


def test_an_event_that_lambda_could_not_begin_in_time_costs_no_attempt(
    world: World, capsys: pytest.CaptureFixture[str]
):
    begin(world, shop([]))
    _, event = the_event(world)
    world.lambdas.accepted.clear()
    world.deliver_record(failure_record(event, "EventAgeExceeded"))
    capsys.readouterr()
    world.pump()
    assert "InvocationsThrottled" in capsys.readouterr().out
    world.settle()
    run = only_run(world)
    assert (run["status"], attempts(run)) == ("Completed", [])


@pytest.mark.parametrize(
    ("refusal", "name"),
    [
        (Refusal(403, "AccessDeniedException", "no"), "AppForbidden"),
        (Refusal(404, "ResourceNotFoundException", "no"), "AppMissing"),
        (Refusal(500, "ServiceException", "no"), "AppUnreachable"),
    ],
)
def test_a_call_that_cannot_be_handed_over_is_recognised_and_retried(world: World, refusal: Refusal, name: str):
    world.lambdas.refuses.append(refusal)
    begin(world, shop([]))
    world.settle()
    run = only_run(world)
    assert (run["status"], attempts(run)) == ("Completed", [name])


def test_a_call_that_lambda_is_too_busy_to_take_costs_no_attempt(world: World):
    world.lambdas.refuses += [Refusal(429, "TooManyRequestsException", "Rate Exceeded.")] * 5  # all tries of one call
    begin(world, shop([]))
    assert world.lambdas.accepted == []
    world.settle()
    run = only_run(world)
    assert (run["status"], attempts(run)) == ("Completed", [])


def test_a_report_that_cannot_be_sent_fails_the_invocation(world: World, monkeypatch: pytest.MonkeyPatch):
    done: list[str] = []
    begin(world, shop(done))
    name, event = the_event(world)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9")
    with pytest.raises(Exception, match="no answer from AWS"):
        world.lambdas.functions[name](event)
    assert done == ["charge"]


def test_an_app_that_does_not_know_the_queue_says_what_to_deploy(world: World, monkeypatch: pytest.MonkeyPatch):
    begin(world, shop([]))
    name, event = the_event(world)
    monkeypatch.delenv("MILEPOST_QUEUE_URL")
    with pytest.raises(LookupError, match=r"\[MP507\] MILEPOST_QUEUE_URL is not set"):
        world.lambdas.functions[name](event)


def test_a_foreign_failure_record_is_ignored(world: World, caplog: pytest.LogCaptureFixture):
    world.deliver_record(failure_record({"my": "own"}, "RetriesExhausted", TIMED_OUT))
    assert world.pump() == []
    assert "ignored a failure record of Lambda's" in caplog.text
