"""The ports of the engine: Table, Blobs, Queue, Invoker, Handover, Clock, RandomSource.

Each port's docstring lists its promises; one contract suite (`tests/contract`) checks every adapter against them.
All times are aware UTC datetimes, or integers of milliseconds since 1970 where an attribute must be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from milepost.protocol import Request, Response

__all__ = [
    "MAX_DELAY_SECONDS",
    "Absent",
    "AllOf",
    "AnyOf",
    "Blobs",
    "Changes",
    "Clock",
    "Condition",
    "ConditionFailed",
    "Delete",
    "Equals",
    "Handover",
    "HasAttribute",
    "In",
    "InvocationProblem",
    "Invoker",
    "Item",
    "Key",
    "LacksAttribute",
    "LessThan",
    "Message",
    "Page",
    "ProblemKind",
    "Put",
    "Queue",
    "RandomSource",
    "Table",
    "TableBusy",
    "Target",
    "TransactionFailed",
    "Update",
    "Value",
    "Write",
]

Value = str | int | bool | bytes
Item = dict[str, Value]
"""Attributes by name, always with `pk` and `sk`. Optional: `expires_at`, whole Unix seconds; from then on no read
returns the item."""

MAX_DELAY_SECONDS: Final = 900
"""Longest delay of a queue message (a limit of SQS, enforced everywhere)."""


@dataclass(frozen=True, slots=True)
class Key:
    pk: str
    sk: str


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no item under the key. One that has expired but was not deleted yet still counts as there."""


@dataclass(frozen=True, slots=True)
class HasAttribute:
    attribute: str


@dataclass(frozen=True, slots=True)
class LacksAttribute:
    """The attribute is missing; true for a missing item."""

    attribute: str


@dataclass(frozen=True, slots=True)
class Equals:
    """The attribute exists and has the same type and value."""

    attribute: str
    value: Value


@dataclass(frozen=True, slots=True)
class LessThan:
    """The attribute exists, is a number and is less."""

    attribute: str
    value: int


@dataclass(frozen=True, slots=True)
class In:
    attribute: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    conditions: tuple[Condition, ...]


Condition = Absent | HasAttribute | LacksAttribute | Equals | LessThan | In | AllOf | AnyOf


@dataclass(frozen=True, slots=True)
class Changes:
    """What an update does: set attributes, remove some, add to numbers (a missing number counts as 0)."""

    set: Mapping[str, Value] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    add: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Put:
    item: Item
    when: Condition | None = None


@dataclass(frozen=True, slots=True)
class Update:
    key: Key
    changes: Changes
    when: Condition | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    key: Key
    when: Condition | None = None


Write = Put | Update | Delete


@dataclass(frozen=True, slots=True)
class Page:
    """Items in sort-key order and, if there may be more, the place to continue from (opaque)."""

    items: list[Item]
    next: str | None = None


class ConditionFailed(Exception):
    """A write's condition did not hold and nothing was written; `existing` is the item there (perhaps expired)."""

    def __init__(self, key: Key, existing: Item | None) -> None:
        super().__init__(f"condition failed at {key.pk} / {key.sk}")
        self.key = key
        self.existing = existing


class TransactionFailed(Exception):
    """A transaction wrote nothing; `failed` lists the positions of the writes whose condition did not hold."""

    def __init__(self, failed: tuple[int, ...]) -> None:
        super().__init__(f"conditions failed at writes {failed}")
        self.failed = failed


class TableBusy(Exception):
    """The table is busy (throttled, or a conflicting transaction) and nothing was written; retry later."""


class Table(Protocol):
    """Items by partition and sort key, DynamoDB's data model.

    Promises:
    - every write is atomic, and durable when the call returns;
    - of concurrent writes whose conditions exclude each other, exactly one succeeds;
    - `get` and `query` see every write that returned before they began (strongly consistent);
    - no read returns an item whose `expires_at` has passed;
    - `put` replaces the whole item; `update` creates a missing item unless its condition forbids it;
    - a call that raises `ConditionFailed`, `TransactionFailed` or `TableBusy` wrote nothing; after any other
      exception the write may or may not have taken effect.
    Limits: an item at most 400 KB, a transaction at most 100 writes and 4 MB, keys not empty, pk ≤ 2048 and
    sk ≤ 1024 bytes. Breaking a limit, or adding to something that is not a number, raises a ValueError that says so.
    """

    async def get(self, key: Key) -> Item | None: ...

    async def get_many(self, keys: Sequence[Key]) -> list[Item | None]:
        """The items in the order of the keys; any number of keys."""
        ...

    async def put(self, item: Item, when: Condition | None = None) -> None: ...

    async def update(self, key: Key, changes: Changes, when: Condition | None = None) -> Item:
        """Returns the whole item after the update."""
        ...

    async def delete(self, key: Key, when: Condition | None = None) -> None: ...

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
        """Items of a partition whose sort key is within [first, last], both inclusive, in key order.

        `limit` counts returned items (None: all of them); `after` is `Page.next` of the previous page.
        """
        ...

    async def transact(self, writes: Sequence[Write]) -> None:
        """All writes or none; at most one write for each key."""
        ...


class Blobs(Protocol):
    """Large values by key. Promises: durable when `put` returns; a key is written once with one content."""

    async def put(self, key: str, content: bytes) -> None: ...

    async def get(self, key: str) -> bytes | None: ...

    async def delete_prefix(self, prefix: str) -> int:
        """Deletes every blob whose key begins with the prefix; returns how many."""
        ...


@dataclass(frozen=True, slots=True)
class Message:
    """`body` is JSON text; at most 900 seconds of delay (fractions are kept where the queue can)."""

    body: str
    delay_seconds: float = 0.0


class Queue(Protocol):
    """Messages to the engine's own consumers.

    Promises: a message is durable when `send` returns; it is delivered at least once, in any order, not before its
    delay is over; it is delivered again until its consumer has finished with it, or it becomes a dead letter.
    """

    async def send(self, messages: Sequence[Message]) -> None: ...


@dataclass(frozen=True, slots=True)
class Target:
    """Where a function's code is served. `kind` picks the invoker: "http", "lambda", "process" or "inprocess".

    `address` is the app id, the serve URL, or the (versioned) function ARN. `reports`: the app may run longer
    than the engine waits for an answer; calls are handed over to it, and it reports the results itself.
    """

    kind: str
    address: str
    timeout_seconds: float = 900.0
    reports: bool = False


class ProblemKind:
    """Why an invocation got no answer; each kind has its own retry rule."""

    UNREACHABLE: Final = "unreachable"  # counts as an attempt
    TIMEOUT: Final = "timeout"  # counts as an attempt
    CRASHED: Final = "crashed"  # counts as an attempt: exit, out of memory, import error
    TOO_LARGE: Final = "too_large"  # counts as an attempt, not retried
    THROTTLED: Final = "throttled"  # the platform was busy: retried, and not counted as an attempt
    MALFORMED: Final = "malformed"  # counts as an attempt: the answer is not that of an app
    MISSING: Final = "missing"  # no such function or version: counts as an attempt
    FORBIDDEN: Final = "forbidden"  # a permission is missing: counts as an attempt


class InvocationProblem(Exception):
    """An invocation that got no answer. `kind` is one of `ProblemKind`; `detail` says what happened."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


class Invoker(Protocol):
    """Calls user code. Promises: at most one answer; if there is none, raises InvocationProblem and nothing else."""

    async def invoke(self, target: Target, request: Request) -> Response: ...


class Handover(Protocol):
    """Hands a call over to an app that reports the result itself.

    Promises: after it returns, the call is made, once or more, or a failure is reported; if that is not certain, it
    raises InvocationProblem and nothing else. `token` goes with the call and comes back with the report.
    """

    async def hand_over(self, target: Target, request: Request, token: Mapping[str, object]) -> None: ...


class Slots(Protocol):
    """Bounds how many calls to user code run at the same time. A slot is taken before anything is claimed."""

    async def take(self, function_id: str) -> bool:
        """Take a slot; returns whether it had to be waited for."""
        ...

    def give_back(self, function_id: str) -> None: ...


class Unbounded:
    """Slots without a bound: the platform sees to it."""

    async def take(self, _: str) -> bool:
        return False

    def give_back(self, _: str) -> None:
        pass


class Clock(Protocol):
    """The only source of time. `now` never goes backwards within one process."""

    def now(self) -> datetime: ...

    async def sleep(self, seconds: float) -> None: ...


class RandomSource(Protocol):
    """The only source of randomness: ids and jitter."""

    def random_bytes(self, count: int) -> bytes: ...

    def uniform(self) -> float:
        """A number in [0, 1)."""
        ...
