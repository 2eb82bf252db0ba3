"""Counts what AWS would bill: a caller that asks DynamoDB for the capacity it consumed, and adds up requests."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from milepost_engine.adapters.aws_calls import Answer, Caller
from milepost_engine.ports import Message

__all__ = ["Bill", "MeteredCaller", "MeteredQueue"]

_WRITES: Final = frozenset({"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"})
_CHUNK_BYTES: Final = 64 * 1024
_MESSAGES_PER_REQUEST: Final = 10


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

    async def call(self, operation: str, request: Mapping[str, Any], *, repeatable: bool) -> Answer:
        answer = await self._inner.call(
            operation, {**request, "ReturnConsumedCapacity": "INDEXES"}, repeatable=repeatable
        )
        told = answer.get("ConsumedCapacity") or {}
        writes = operation in _WRITES
        self._bill.add(f"dynamodb {operation}")
        for capacity in told if isinstance(told, list) else [told]:
            table = float((capacity.get("Table") or {}).get("CapacityUnits", 0))
            index = sum(float(each["CapacityUnits"]) for each in capacity.get("GlobalSecondaryIndexes", {}).values())
            self._bill.add("table write units" if writes else "table read units", table)
            self._bill.add("index write units" if writes else "index read units", index)
        return answer


@dataclass
class MeteredQueue:
    """Implements Queue: keeps the messages and counts the requests that sending them takes."""

    bill: Bill
    messages: list[str] = field(default_factory=list)

    async def send(self, messages: list[Message]) -> None:
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
