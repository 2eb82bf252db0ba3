"""An event comes in from EventBridge, and a function of the user's Lambda runs to its end."""

from __future__ import annotations

from milepost import App, Context, SyncContext

from .conftest import World
from .recorded import Context as LambdaContext
from .recorded import envelope, s3_object_created


def shop(mode: str = "step") -> App:
    app = App("shop", mode=mode)  # type: ignore[arg-type]

    @app.function(id="order", trigger="order/placed")
    async def order(ctx: Context) -> str:
        charge = await ctx.step.run("charge", lambda: {"amount": ctx.event.data["amount"]})
        await ctx.step.run("mail", lambda: "sent")
        return f"charged {charge['amount']}"

    return app


def test_an_event_runs_a_function_to_its_end(world: World):
    world.serve(shop())
    answer = world.put(envelope("order/placed", {"amount": 7}))
    assert answer == {"batchItemFailures": []}
    assert world.pump() == []
    [run] = world.runs()
    assert (run["status"], run["output"]) == ("Completed", "charged 7")
    assert [span["name"] for span in run["trace"] if span["kind"] == "run"] == ["charge", "mail"]


def test_a_run_of_two_steps_takes_two_calls_of_the_users_lambda(world: World):
    address = world.serve(shop())
    world.put(envelope("order/placed", {"amount": 7}))
    world.pump()
    assert world.lambdas.calls == [(address, "RequestResponse")] * 2


def test_the_same_envelope_delivered_twice_starts_one_run(world: World):
    world.serve(shop())
    sent = envelope("order/placed", {"amount": 7})
    world.put(sent)
    world.here.engine.events.forget(world.runs()[0]["event_id"])
    world.put(sent, sent)
    world.pump()
    assert len(world.runs()) == 1


def test_the_source_of_an_event_can_be_read_by_the_function(world: World):
    app = App("sources")

    @app.function(id="who", trigger="order/placed")
    def who(ctx: SyncContext) -> object:
        return ctx.event.name

    world.serve(app)
    world.put(envelope("order/placed", {}, source="till.9"))
    world.pump()
    [run] = world.runs()
    event = world.here.run(world.here.engine.events.load(run["event_id"]))
    assert event is not None
    assert event.extra["meta"] == {"source": "till.9"}


def test_an_event_of_an_aws_service_is_named_by_source_and_detail_type(world: World):
    app = App("uploads")

    @app.function(id="scan", trigger="aws.s3/Object Created")
    def scan(ctx: SyncContext) -> object:
        return ctx.event.data["object"]["key"]

    world.serve(app)
    world.put(s3_object_created())
    world.pump()
    assert [run["output"] for run in world.runs()] == ["example-key"]


def test_an_orchestrator_without_time_passes_the_baton_on(world: World):
    world.serve(shop())
    world.put(envelope("order/placed", {"amount": 7}))
    [message] = world.receive(world.work_url)
    world.client("sqs").change_message_visibility(
        QueueUrl=world.work_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
    )
    from milepost_handlers.orchestrator import handler  # noqa: PLC0415

    record = world.record(message["Body"], world.work_url)
    assert handler({"Records": [record]}, LambdaContext(remaining_ms=60_000)) == {"batchItemFailures": []}
    assert world.lambdas.calls == []
    assert world.pump() == []
    assert [run["status"] for run in world.runs()] == ["Completed"]
