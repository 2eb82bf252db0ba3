"""Table over one DynamoDB table.

Layout (schema in `dynamodb_schema`): an item is one DynamoDB item with the same attributes; `pk` and `sk` are its keys;
S, N, BOOL and B are the types in use. There is no index: lists have partitions of their own (`store`), so a list costs
no extra write and is as fresh as any read. `expires_at` is the time-to-live attribute: AWS deletes up to two days late,
so every read filters, and conditions still see an expired item.

Cost: a single write is never sent as a transaction, which costs twice as much; a failed condition is billed like a
success and returns the existing item, so no read follows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from milepost_engine.adapters.cursors import cursor_of, sort_key_of
from milepost_engine.adapters.limits import (
    check_changes,
    check_condition,
    check_item,
    check_key,
    check_query,
    check_writes,
    write_key,
)
from milepost_engine.adapters.random_source import SystemRandom
from milepost_engine.ports import (
    Changes,
    Clock,
    Condition,
    ConditionFailed,
    Delete,
    Item,
    Key,
    Page,
    Put,
    TableBusy,
    TransactionFailed,
    Update,
    Value,
    Write,
)

from .calls import AwsAnswer, AwsRefused, AwsRetries, AwsUnreachable, Caller
from .dynamodb_expressions import Expressions, attribute_values, item_of, key_of

__all__ = ["DynamoTable"]

_KEYS_PER_BATCH: Final = 100
_UNPROCESSED_ROUNDS: Final = 8
_OPERATIONS: Final = {Put: "PutItem", Update: "UpdateItem", Delete: "DeleteItem"}
_ON_FAILURE: Final = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


class DynamoTable:
    """Implements the Table port; see its promises.

    Raises, besides the port's exceptions, AwsRefused (a missing permission or table) and AwsUnreachable (no answer:
    a write may or may not have taken effect).
    """

    def __init__(self, caller: Caller, table_name: str, clock: Clock, *, retries: AwsRetries | None = None) -> None:
        self._caller = caller
        self._name = table_name
        self._clock = clock
        self._retries = retries or AwsRetries(clock, SystemRandom())

    async def get(self, key: Key) -> Item | None:
        """The item under the key, unless it has expired."""
        check_key(key)
        request = {"TableName": self._name, "Key": key_of(key), "ConsistentRead": True}
        answer = await self._call("GetItem", request, repeatable=True)
        return self._live(answer.get("Item"))

    async def get_many(self, keys: Sequence[Key]) -> list[Item | None]:
        """The items in the order of the keys."""
        for key in keys:
            check_key(key)
        wanted = list(dict.fromkeys(keys))  # DynamoDB refuses a batch that names a key twice
        batches = [wanted[at : at + _KEYS_PER_BATCH] for at in range(0, len(wanted), _KEYS_PER_BATCH)]
        found: dict[Key, Item | None] = {}
        for items in await asyncio.gather(*map(self._get_batch, batches)):
            found.update({Key(str(item["pk"]), str(item["sk"])): item for item in items})
        return [found.get(key) for key in keys]

    async def put(self, item: Item, when: Condition | None = None) -> None:
        """Writes the whole item."""
        check_item(item)
        check_condition(when)
        await self._write(Put(item, when))

    async def update(self, key: Key, changes: Changes, when: Condition | None = None) -> Item:
        """Changes some attributes and returns the whole item."""
        check_changes(key, changes)
        check_condition(when)
        answer = await self._write(Update(key, changes, when), ReturnValues="ALL_NEW")
        return item_of(answer["Attributes"])

    async def delete(self, key: Key, when: Condition | None = None) -> None:
        """Deletes the item if it is there."""
        check_key(key)
        check_condition(when)
        await self._write(Delete(key, when))

    async def transact(self, writes: Sequence[Write]) -> None:
        """All writes or none."""
        check_writes(writes)
        if len(writes) == 1:
            try:
                await self._write(writes[0])
            except ConditionFailed as failure:
                raise TransactionFailed((0,)) from failure
        elif writes:
            await self._transact(writes)

    async def query(
        self,
        partition: str,
        *,
        first: str | None = None,
        last: str | None = None,
        limit: int | None = None,
        newest_first: bool = False,
        after: str | None = None,
    ) -> Page:
        """Items of a partition within a range of sort keys."""
        check_query(partition, first, last, limit)
        start = None if after is None else key_of(Key(partition, sort_key_of(after)))
        if first is not None and last is not None and first > last:
            return Page([])  # DynamoDB refuses a range that ends before it begins
        request = {
            "TableName": self._name,
            "ScanIndexForward": not newest_first,
            "ConsistentRead": True,
            **_within(partition, first, last, self._now()),
        }
        items: list[Item] = []
        while True:  # a page ends at 1 MB, and `Limit` counts expired items too
            if limit is not None:
                request["Limit"] = limit + 1 - len(items)
            if start is not None:
                request["ExclusiveStartKey"] = start
            answer = await self._call("Query", request, repeatable=True)
            items += map(item_of, answer.get("Items", ()))
            if limit is not None and len(items) > limit:
                del items[limit:]
                return Page(items, cursor_of(str(items[-1]["sk"])))
            start = answer.get("LastEvaluatedKey")
            if start is None:
                return Page(items)

    async def _get_batch(self, keys: list[Key]) -> list[Item]:
        wanted: Mapping[str, Any] = {self._name: {"Keys": [key_of(key) for key in keys], "ConsistentRead": True}}
        items: list[Item] = []
        for number in range(_UNPROCESSED_ROUNDS):  # an answer may be partial: over 16 MB, or throttled
            answer = await self._call("BatchGetItem", {"RequestItems": wanted}, repeatable=True)
            live = map(self._live, answer["Responses"].get(self._name, ()))
            items += [item for item in live if item is not None]
            wanted = answer.get("UnprocessedKeys") or {}
            if not wanted:
                return items
            await self._retries.clock.sleep(self._retries.pause_after(number))
        raise TableBusy(f"table {self._name} left keys of a batch unread {_UNPROCESSED_ROUNDS} times")

    async def _write(self, write: Write, **more: str) -> AwsAnswer:
        # No retry after a lost answer: a repeated write would fail its condition because the first one succeeded, and a
        # repeated addition would count twice.
        request = {**self._request(write), **more}
        try:
            return await self._call(_OPERATIONS[type(write)], request, repeatable=False)
        except AwsRefused as refusal:
            if refusal.code != "ConditionalCheckFailedException":
                raise
            existing = refusal.details.get("Item")
            raise ConditionFailed(write_key(write), item_of(existing) if existing else None) from None

    async def _transact(self, writes: Sequence[Write]) -> None:
        verbs = [{_OPERATIONS[type(write)].removesuffix("Item"): self._request(write)} for write in writes]
        # With the token, a repetition within ten minutes succeeds and changes nothing.
        request = {"TransactItems": verbs, "ClientRequestToken": self._retries.random_source.random_bytes(16).hex()}
        try:
            await self._call("TransactWriteItems", request, repeatable=True)
        except AwsRefused as refusal:
            if refusal.code != "TransactionCanceledException":
                raise
            reasons = [reason.get("Code", "None") for reason in refusal.details.get("CancellationReasons", ())]
            failed = tuple(n for n, code in enumerate(reasons) if code == "ConditionalCheckFailed")
            if failed:
                raise TransactionFailed(failed) from None
            if "ValidationError" in reasons:
                raise ValueError(f"table {self._name} refused a write: {refusal.message}") from refusal
            raise

    async def _call(self, operation: str, request: Mapping[str, Any], *, repeatable: bool) -> AwsAnswer:
        try:
            return await self._caller.call(operation, request, repeatable=repeatable)
        except AwsRefused as refusal:
            if refusal.did_nothing:
                raise TableBusy(f"table {self._name}: {refusal}") from refusal
            if refusal.code == "ValidationException":
                raise ValueError(f"table {self._name} refused {operation}: {refusal.message}") from refusal
            raise
        except AwsUnreachable as lost:
            if lost.sent:
                raise
            raise TableBusy(f"table {self._name}: {lost}") from lost

    def _request(self, write: Write) -> dict[str, Any]:
        expressions = Expressions().condition(write.when)
        target: dict[str, Any]
        match write:
            case Put(item):
                target = {"Item": attribute_values(item)}
            case Update(key, changes):
                target = {"Key": key_of(key)}
                expressions.changes(changes)
            case _:
                target = {"Key": key_of(write.key)}
        on_failure = _ON_FAILURE if write.when is not None else {}
        return {"TableName": self._name, **target, **expressions.request(), **on_failure}

    def _live(self, attributes: dict[str, Any] | None) -> Item | None:
        if attributes is None:
            return None
        item = item_of(attributes)
        expires_at: Value | None = item.get("expires_at")
        return None if isinstance(expires_at, int) and expires_at <= self._now() else item

    def _now(self) -> int:
        return int(self._clock.now().timestamp())


def _within(partition: str, first: str | None, last: str | None, now: int) -> dict[str, Any]:
    expressions = Expressions()
    condition = f"{expressions.name('pk')} = {expressions.value(partition)}"
    if first is not None and last is not None:
        bounds = f"{expressions.value(first)} AND {expressions.value(last)}"
        condition += f" AND {expressions.name('sk')} BETWEEN {bounds}"
    elif first is not None:
        condition += f" AND {expressions.name('sk')} >= {expressions.value(first)}"
    elif last is not None:
        condition += f" AND {expressions.name('sk')} <= {expressions.value(last)}"
    expires_at = expressions.name("expires_at")
    live = f"attribute_not_exists({expires_at}) OR {expires_at} > {expressions.value(now)}"
    return expressions.add("KeyConditionExpression", condition).add("FilterExpression", live).request()
