"""How fast the timers of one crowded minute leave: the real ticks and movers over DynamoDB Local, and a queue that
answers as SQS does but keeps nothing. Needs Java.

`python -m bench.crowded_minute 100000` prints what it took, and what follows for a million on Lambda. The time of a
Lambda follows from the CPU that was used, since network and store of this machine say nothing about AWS's.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from botocore.credentials import Credentials
from tests.contract.dynamodb_local import running_dynamodb_local

from bench.table import show
from milepost_engine.adapters.aws.calls import AwsRetries
from milepost_engine.adapters.aws.client import AwsHttp
from milepost_engine.adapters.aws.dynamodb import DynamoTable
from milepost_engine.adapters.aws.dynamodb_schema import create_table
from milepost_engine.adapters.aws.sqs import SqsQueue
from milepost_engine.adapters.clock import SystemClock, WoundClock
from milepost_engine.adapters.random_source import SystemRandom
from milepost_engine.codec import loads
from milepost_engine.core.inputs import TimerKind
from milepost_engine.store.messages import TIMER_SHARDS, MessageSender, MoveTimers, TimerFired, parse
from milepost_engine.timers.cursors import Cursors
from milepost_engine.timers.due_timers import DueTimers

_CPU_OF_LAMBDA: Final = 512 / 1769
"""The share of a processor that the orchestrator has. Source: "Configure Lambda function memory": 1,769 MB are one."""
_MILLION: Final = 1_000_000


class CountingSqs:
    """Implements Caller for SQS: accepts every message, counts the timers, and keeps the requests to continue."""

    def __init__(self) -> None:
        self.timers: Counter[str] = Counter()
        self.left: list[MoveTimers] = []
        self.requests = 0

    async def call(self, operation: str, request: Mapping[str, Any], *, repeatable: bool) -> Any:  # noqa: ARG002
        """See `Caller`."""
        self.requests += 1
        text = json.dumps(dict(request))  # what the real one does, so that its CPU is counted
        entries = json.loads(text)["Entries"]
        for entry in entries:
            message = parse(loads(entry["MessageBody"]))
            if isinstance(message, MoveTimers):
                self.left.append(message)
            elif isinstance(message, TimerFired):
                self.timers[message.run_id] += 1
        return {"Successful": [{"Id": entry["Id"]} for entry in entries], "Failed": []}


async def crowded_minute(endpoint: str, count: int) -> None:
    """Print how the timers of one minute leave."""
    http = AwsHttp(
        Credentials("test", "test"),
        "us-east-1",
        retries=AwsRetries(SystemClock(), SystemRandom()),
        environment={"AWS_ENDPOINT_URL": endpoint},
        max_connections=64,
    )
    clock, random_source, sqs = WoundClock(), SystemRandom(), CountingSqs()
    table = DynamoTable(http.service("dynamodb"), "crowded", clock=clock)
    sender = MessageSender(SqsQueue(sqs, "https://sqs.invalid/1/work"), table, clock, random_source)
    due = DueTimers(table, sender, clock, random_source, Cursors(table))
    moment = (clock.now() + timedelta(minutes=30)).replace(second=5, microsecond=0)
    await _fill(sender, moment, count)
    await clock.advance_to(moment - timedelta(minutes=1))
    await due.cursors.read("timers", int(moment.timestamp()) // 60 - 1)
    began, cpu = time.perf_counter(), time.process_time()
    first = await due.move(clock.now(), clock.now() + timedelta(seconds=40))
    ticked, tick_cpu = time.perf_counter() - began, time.process_time() - cpu
    messages = await _movers(due, sqs)
    took, used = time.perf_counter() - began, time.process_time() - cpu
    assert sum(sqs.timers.values()) == len(sqs.timers) == count, "a timer was lost, or sent twice"
    each = used / count
    show(f"{count} timers of one minute", f"{took:.1f} s", f"{used:.1f} s of CPU, {sqs.requests} requests to SQS")
    show("of these by the tick itself", f"{first}", f"{ticked:.2f} s, {tick_cpu:.2f} s of CPU; the same at any count")
    show("messages to continue", f"{messages}", f"for {TIMER_SHARDS} partitions")
    minutes = _MILLION * each / _CPU_OF_LAMBDA / TIMER_SHARDS / 60
    show("a million, in as many Lambdas of 512 MB as partitions", f"{minutes:.1f} min", "by CPU; aim ≤ 15 min")
    await http.close()


async def _fill(sender: MessageSender, moment: datetime, count: int) -> None:
    for start in range(0, count, 500):
        await asyncio.gather(
            *(
                sender.send_at(TimerFired(f"01M8Q19PNBSSESV2{n:010d}", "demo-sleeper", timer=TimerKind.BEGIN), moment)
                for n in range(start, min(start + 500, count))
            )
        )


async def _movers(due: DueTimers, sqs: CountingSqs) -> int:
    """Deliver the requests to continue, all at once; how many there were."""
    messages = 0
    while sqs.left:
        left, sqs.left = sqs.left, []
        messages += len(left)
        await asyncio.gather(*(due.move_rest(message, None) for message in left))
    return messages


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with running_dynamodb_local() as endpoint:
        import boto3  # noqa: PLC0415 - only here

        client = boto3.client(
            "dynamodb", endpoint_url=endpoint, region_name="us-east-1",
            aws_access_key_id="test", aws_secret_access_key="test",
        )  # fmt: skip
        create_table(client, "crowded")
        asyncio.run(crowded_minute(endpoint, count))


if __name__ == "__main__":
    main()
