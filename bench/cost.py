"""What a million three-step runs cost: calls counted on DynamoDB Local, prices from `prices.json`.

`python -m bench.cost` prints the page; with `--write` it becomes docs/cost.md. Needs Java, like the tests that use it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.contract.dynamodb_local import running_dynamodb_local

from .load import load

__all__ = ["MODES", "PAGE", "counted", "dollars", "others", "page", "prices"]

MODES: Final = ("step", "checkpoint")
PAGE: Final = Path(__file__).parents[1] / "docs" / "cost.md"
RUNS: Final = 50
_GIB: Final = 1024**3
_ROUNDED: Final = {"stored bytes": 500, "log bytes": 100}

Counts = Mapping[str, float]


def prices() -> dict[str, Any]:
    """The price table and the assumptions."""
    table: dict[str, Any] = json.loads(Path(__file__).with_name("prices.json").read_text())
    return table


async def counted(endpoint: str, runs: int = RUNS) -> dict[str, Counts]:
    """What AWS would bill for one run in each mode, on average over so many under load."""
    assumed = prices()["assumptions"]
    counts: dict[str, Counts] = {}
    async with load(endpoint, result_bytes=assumed["step_result_bytes"], event_bytes=assumed["event_bytes"]) as made:
        for mode in MODES:
            await made.run(mode, runs)
            counts[mode] = _rounded(made.bill.per(runs))
            made.bill.count.clear()
    return counts


def _rounded(counts: dict[str, float]) -> Counts:
    """Bytes to what does not change from one count to the next: times and ids have more digits or fewer."""
    return counts | {name: step * round(counts[name] / step) for name, step in _ROUNDED.items()}


def dollars(counts: Counts) -> dict[str, float]:
    """Dollars per million runs by what they are for, over the user's own compute."""
    table = prices()
    each, assumed = table["per_million"], table["assumptions"]
    runs_in_batch = assumed["batch"]
    driven = 3 * assumed["step_seconds"] + assumed["orchestrator_overhead_seconds_per_batch"]
    gb_seconds = (
        driven * assumed["orchestrator_memory_gb"] + assumed["intake_seconds_per_batch"] * assumed["intake_memory_gb"]
    ) / runs_in_batch
    invocations = sum(counts[f"{role} invocations"] for role in ("user", "intake", "orchestrator"))
    return {
        "EventBridge": counts["events"] * each["eventbridge_chunks"],
        "SQS": counts["sqs requests"] * each["sqs_requests"],
        "Lambda requests": invocations * each["lambda_requests"],
        "Lambda time of the engine": gb_seconds * table["lambda_gb_second_arm"] * 1e6,
        "DynamoDB writes": counts["write units"] * each["dynamodb_write_units"],
        "DynamoDB reads": counts["read units"] * each["dynamodb_read_units"],
        "DynamoDB storage": counts["stored bytes"]
        * 1e6 / _GIB * table["dynamodb_gb_month"] * assumed["retention_months"],
        "Logs": counts["log bytes"] * 1e6 / _GIB * table["logs_gb"],
    }  # fmt: skip


def others() -> dict[str, float]:
    """The same three steps elsewhere, over the user's own compute."""
    table = prices()
    each, months = table["per_million"], table["assumptions"]["retention_months"]
    extra = 4 - table["inngest_plan_executions"] / 1e6
    return {
        # A state transition for the start and for each step; each step is a Lambda request.
        "Step Functions Standard": 4 * each["step_functions_transitions"] + 3 * each["lambda_requests"],
        # An operation for the start and for each step, 4 KB written and kept.
        "Lambda durable functions": 4 * each["lambda_durable_operations"]
        + each["lambda_requests"]
        + 4 * (table["lambda_durable_gb_written"] + months * table["lambda_durable_gb_month"]),
        # An execution for the run and for each step.
        "Inngest Cloud": table["inngest_plan"] + extra * each["inngest_executions"] + 4 * each["lambda_requests"],
        # An action for the start and for each activity; 10 GB of history kept for a month.
        "Temporal Cloud": 4 * each["temporal_actions"] + 10 * 720 * table["temporal_gb_hour_retained"],
    }


def page(counts: Mapping[str, Counts]) -> str:
    """docs/cost.md."""
    table = prices()
    assumed = table["assumptions"]
    bills = {mode: dollars(counts[mode]) for mode in MODES}
    rows = [f"| {name} | {bills['step'][name]:.2f} | {bills['checkpoint'][name]:.2f} |" for name in bills["step"]]
    totals = {mode: sum(bills[mode].values()) for mode in MODES}
    shown = {
        "events": "events published",
        "user invocations": "invocations of your Lambda",
        "intake invocations": "invocations of the intake",
        "orchestrator invocations": "invocations of the orchestrator",
        "write units": "table writes (units of 1 KB)",
        "read units": "table reads (units of 4 KB)",
        "sqs requests": "SQS requests",
        "stored bytes": "bytes kept in the table, about",
        "log bytes": "bytes of logs and metrics, about",
    }
    calls = [f"| {text} | {counts['step'][name]:g} | {counts['checkpoint'][name]:g} |" for name, text in shown.items()]
    elsewhere = [f"| {name} | {amount:.2f} |" for name, amount in sorted(others().items(), key=lambda pair: -pair[1])]
    return _TEXT.format(
        region=table["region"],
        date=table["date"],
        rows="\n".join(rows),
        step=totals["step"],
        checkpoint=totals["checkpoint"],
        elsewhere="\n".join(elsewhere),
        calls="\n".join(calls),
        orchestrator_mb=assumed["orchestrator_memory_gb"] * 1024,
        sources="\n".join(f"- {name.replace('_', ' ')}: {source}" for name, source in table["sources"].items()),
        **assumed,
    )


_TEXT: Final = """\
# What it costs

An idle stack costs only its alarms. `make bench-cost` writes this page: it counts the engine's calls over DynamoDB
Local, in batches of ten as under load, and multiplies them by the {region} list prices as of {date}, without the free
tier.

## A million runs of three steps

Dollars, plus the compute of your own code.

| | step mode | checkpoint mode |
|---|---|---|
{rows}
| **all** | **{step:.2f}** | **{checkpoint:.2f}** |

The same three steps elsewhere, with the same Lambda compute:

| | dollars |
|---|---|
{elsewhere}
| Milepost, step mode | {step:.2f} |
| Milepost, checkpoint mode | {checkpoint:.2f} |

## The calls of one run

| | step mode | checkpoint mode |
|---|---|---|
{calls}

A run of N steps takes N + 3 table writes, and its event takes one. The dashboard's lists cost nothing extra, because
the table has no index: items are stored in the order in which they are listed. Only an event that starts nothing takes
a second write. A sleep, a wait, a retry, a parallel step or an invoke takes at most three writes and three SQS requests
more, whatever came before it in the run.

## What is assumed, not counted

- A step takes {step_seconds:g} s and returns {step_result_bytes} bytes; the event has {event_bytes} bytes.
- The orchestrator has {orchestrator_mb:g} MB and drives {batch} runs at once, for the time of their steps and
  {orchestrator_overhead_seconds_per_batch:g} s more. It waits for the steps, so longer steps cost more of it.
- The intake takes {intake_seconds_per_batch:g} s for {batch} events.
- Runs are kept for 14 days; with the default of 30 days, storage costs about twice as much.
- When few events arrive at a time, batches are smaller: SQS and Lambda requests then cost up to ten times as much.
- Results over 8 KB go to S3, at $5.00 per million puts and $0.40 per million gets.

Where the prices come from:

{sources}
"""


def main() -> None:
    with running_dynamodb_local() as endpoint:
        text = page(asyncio.run(counted(endpoint)))
    if "--write" in sys.argv[1:]:
        PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
