"""Counts what AWS would bill: the capacity that DynamoDB says it consumed, requests, bytes kept and bytes logged."""

from __future__ import annotations

import contextlib
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from milepost_engine.adapters.aws.calls import AwsAnswer, Caller
from milepost_engine.adapters.aws.dynamodb_expressions import item_of
from milepost_engine.adapters.limits import item_size
from milepost_engine.ports import Message
from milepost_handlers.metrics import logger

__all__ = ["Bill", "MeteredCaller", "MeteredQueue", "metered_logs", "stored_bytes"]

_WRITES: Final = frozenset({"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"})
_CHUNK_BYTES: Final = 64 * 1024
_MESSAGES_PER_REQUEST: Final = 10
_BYTES_OF_A_LOG_EVENT: Final = 26
"""What CloudWatch Logs counts for each event besides its text. Source: "CloudWatch Logs quotas"."""
_BYTES_OF_AN_ITEM: Final = 100
"""What DynamoDB counts for each item besides its attributes. Source: "Amazon DynamoDB pricing", data storage."""
_OF_RUNS: Final = ("D#", "E#", "F#", "L#", "R#")
"""Partitions that grow with runs and events; what else the table holds does not."""


@dataclass
class Bill:
    """What was counted, by name; `bytes_stored` is what a table keeps."""

    count: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, amount: float = 1) -> None:
        self.count[name] += amount  # type: ignore[assignment]

    def per(self, runs: int) -> dict[str, float]:
        return {name: amount / runs for name, amount in sorted(self.count.items())}


class MeteredCaller:
    """Implements Caller for DynamoDB over another one."""

    def __init__(self, inner: Caller, bill: Bill) -> None:
        self._inner = inner
        self._bill = bill

    async def call(self, operation: str, request: Mapping[str, Any], *, repeatable: bool) -> AwsAnswer:
        answer = await self._inner.call(
            operation, {**request, "ReturnConsumedCapacity": "TOTAL"}, repeatable=repeatable
        )
        consumed = answer.get("ConsumedCapacity") or {}
        writes = operation in _WRITES
        self._bill.add(f"dynamodb {operation}")
        for capacity in consumed if isinstance(consumed, list) else [consumed]:
            self._bill.add("write units" if writes else "read units", float(capacity.get("CapacityUnits", 0)))
        return answer


@dataclass
class MeteredQueue:
    """Implements Queue: keeps the messages and counts the requests that sending them takes."""

    bill: Bill
    messages: list[str] = field(default_factory=list)

    async def send(self, messages: Sequence[Message]) -> None:
        self.messages += [message.body for message in messages]
        for at in range(0, len(messages), _MESSAGES_PER_REQUEST):
            batch = messages[at : at + _MESSAGES_PER_REQUEST]
            size = sum(len(message.body.encode()) for message in batch)
            self.bill.add("sqs requests", max(1, math.ceil(size / _CHUNK_BYTES)))

    def receive(self) -> list[str]:
        """At most ten; with the request that deletes them."""
        batch = self.messages[:_MESSAGES_PER_REQUEST]
        del self.messages[: len(batch)]
        if batch:
            self.bill.add("sqs requests", 2)
        return batch


@contextlib.contextmanager
def metered_logs(bill: Bill) -> Iterator[None]:
    """What the engine's Lambdas would log goes to the bill instead of the terminal."""
    counted = _Logs(bill)
    handler = logger.registered_handler
    before = handler.setStream(counted)  # type: ignore[attr-defined]
    try:
        with contextlib.redirect_stdout(counted):
            yield
    finally:
        handler.setStream(before)  # type: ignore[attr-defined]


class _Logs(io.TextIOBase):
    def __init__(self, bill: Bill) -> None:
        self._bill = bill

    def write(self, text: str) -> int:
        self._bill.add("log bytes", len(text.encode()) + text.count("\n") * _BYTES_OF_A_LOG_EVENT)
        return len(text)


async def stored_bytes(dynamodb: Caller, table: str) -> int:
    """What the table keeps of runs and events, as DynamoDB bills it."""
    size, start = 0, None
    while True:
        request = {"TableName": table, **({"ExclusiveStartKey": start} if start else {})}
        answer = await dynamodb.call("Scan", request, repeatable=True)
        items = [item_of(found) for found in answer["Items"]]
        size += sum(item_size(item) + _BYTES_OF_AN_ITEM for item in items if str(item["pk"]).startswith(_OF_RUNS))
        start = answer.get("LastEvaluatedKey")
        if not start:
            return size
