"""What the orchestrator's own work costs over AWS's adapters: its thread's CPU, with a DynamoDB Local to answer it.

Steps run on threads of their own here, and in the user's Lambda there: their CPU is told apart. Needs Java.
"""

from __future__ import annotations

from tests.contract.dynamodb_local import running_dynamodb_local

from bench.load import load
from bench.table import show

RUNS = 200


async def orchestrator_cpu() -> None:
    """For three-step runs in batches of ten, as under load."""
    with running_dynamodb_local() as endpoint:
        async with load(endpoint, result_bytes=200, event_bytes=300) as made:
            for mode in ("step", "checkpoint"):
                await made.run(mode, RUNS // 4)
                made.spent.clear()
                await made.run(mode, RUNS)
                steps = 3 * RUNS
                own, steps_own = (made.spent[whose] / steps * 1000 for whose in ("orchestrator", "steps"))
                show(
                    f"the orchestrator over DynamoDB Local, {mode} mode",
                    f"{own:.2f} ms",
                    f"CPU per step, aim ≤ 2 ms; the steps' own threads {steps_own:.2f} ms",
                )
