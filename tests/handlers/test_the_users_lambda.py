"""The user's Lambda reaches its runs' store: it saves steps as it goes, and loads what is too large for a call."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from milepost import App, Context, SyncContext
from milepost_engine.runs.requests import INLINE_CALL_BYTES

from .conftest import World
from .recorded import envelope


def saved(world: World, run_id: str) -> list[str]:
    """The names of the steps that stand in the table at this moment."""
    answer = world.client("dynamodb").query(
        TableName=world.table,
        KeyConditionExpression="pk = :run AND begins_with(sk, :step)",
        ExpressionAttributeValues={":run": {"S": f"R#{run_id}"}, ":step": {"S": "S#"}},
    )
    return [item["name"]["S"] for item in answer["Items"]]


def test_a_checkpointing_function_saves_each_step_before_the_next_one(world: World):
    seen: list[list[str]] = []
    app = App("shop", mode="checkpoint")

    @app.function(id="order", trigger="order/placed")
    async def order(ctx: Context) -> str:
        for name in ("reserve", "charge", "mail"):
            await ctx.step.run(name, lambda: seen.append(saved(world, ctx.run_id)))
        return "done"

    world.serve(app)
    world.put(envelope("order/placed", {}))
    world.pump()
    assert [sorted(names) for names in seen] == [[], ["reserve"], ["charge", "reserve"]]
    assert len(world.lambdas.calls) == 1
    assert [run["status"] for run in world.runs()] == ["Completed"]


def test_a_run_that_was_cancelled_meanwhile_stops_before_its_next_step(world: World):
    done: list[str] = []
    app = App("shop", mode="checkpoint")

    @app.function(id="order", trigger="order/placed")
    def order(ctx: SyncContext) -> str:
        ctx.step.run("reserve", reserve, ctx.run_id)
        ctx.step.run("charge", lambda: done.append("charge"))
        return "done"

    def reserve(run_id: str) -> None:
        done.append("reserve")
        world.client("dynamodb").update_item(
            TableName=world.table, Key={"pk": {"S": "F#shop-order"}, "sk": {"S": run_id}},
            UpdateExpression="SET #status = :ended", ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":ended": {"S": "Cancelled"}},
        )  # fmt: skip

    world.serve(app)
    world.put(envelope("order/placed", {}))
    world.pump()
    assert done == ["reserve"]


def test_a_run_too_large_for_a_call_is_loaded_from_the_store(world: World):
    app = App("shop")
    size = INLINE_CALL_BYTES // 3

    @app.function(id="order", trigger="order/placed")
    def order(ctx: SyncContext) -> Any:
        parts = [ctx.step.run(f"part {number}", lambda: "x" * size) for number in range(4)]
        return [ctx.event.data["amount"], sum(map(len, parts))]

    world.serve(app)
    world.put(envelope("order/placed", {"amount": 7}))
    world.pump()
    assert [(run["status"], run["output"]) for run in world.runs()] == [("Completed", [7, 4 * size])]


def test_without_a_store_a_checkpointing_function_hands_its_steps_over_at_the_end(world: World):
    app = App("shop", mode="checkpoint")

    @app.function(id="order", trigger="order/placed")
    def order(ctx: SyncContext) -> Any:
        first = ctx.step.run("first", lambda: 1)
        return first + ctx.step.run("second", lambda: 2)

    world.serve(app, keeps=False)
    world.put(envelope("order/placed", {}))
    world.pump()
    assert [run["output"] for run in world.runs()] == [3]


def test_the_users_side_loads_nothing_that_its_asset_lacks():
    """The asset of an app has the engine's code and pydantic; botocore comes with the runtime."""
    probe = (
        "import sys, milepost_handlers.app, milepost_handlers.store\n"
        "lacking = {'aws_lambda_powertools', 'boto3', 'croniter', 'httpx', 's3transfer'}\n"
        "print(sorted(lacking & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_app_loads_the_engine_only_when_a_run_needs_its_store():
    probe = (
        "import sys, milepost_handlers.app\n"
        "from milepost import App\n"
        "milepost_handlers.app.lambda_handler(App('shop'))\n"
        "print(any(name.startswith(('milepost_engine', 'botocore')) for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
