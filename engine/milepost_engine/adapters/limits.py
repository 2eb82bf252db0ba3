"""The limits that every table, queue and blob store enforces: what works on a laptop works on AWS.

Each check raises a ValueError (for a wrong type too: one class for refusals) that names the item and the
limit; none of them touches storage.
Source: "Quotas in Amazon DynamoDB", "Amazon SQS message quotas", "Creating object key names" (S3).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from milepost_engine.ports import (
    MAX_DELAY_SECONDS,
    Absent,
    AllOf,
    AnyOf,
    Changes,
    Condition,
    Equals,
    HasAttribute,
    In,
    Item,
    Key,
    LacksAttribute,
    LessThan,
    Message,
    Put,
    Update,
    Value,
    Write,
)

__all__ = [
    "check_blob_key",
    "check_blob_prefix",
    "check_changes",
    "check_condition",
    "check_item",
    "check_key",
    "check_message",
    "check_query",
    "check_writes",
    "item_size",
    "text_size",
    "write_key",
]

MAX_ITEM_BYTES: Final = 400 * 1024
MAX_PARTITION_KEY_BYTES: Final = 2048
MAX_SORT_KEY_BYTES: Final = 1024
MAX_TRANSACTION_WRITES: Final = 100
MAX_TRANSACTION_BYTES: Final = 4 * 1024 * 1024
MAX_IN_VALUES: Final = 100
MAX_MESSAGE_BYTES: Final = 1024 * 1024
MAX_BLOB_KEY_BYTES: Final = 1024

_INT_LIMIT: Final = 10**38  # a DynamoDB number keeps 38 digits
_EXPIRY_LIMIT: Final = 2**63  # SQLite's integer column
_KEY_LIMITS: Final = {
    "pk": MAX_PARTITION_KEY_BYTES,
    "sk": MAX_SORT_KEY_BYTES,
}
_NEEDS_NO_CHECK: Final = frozenset({type(None), Absent, HasAttribute, LacksAttribute})
_GROUPS: Final = (AllOf, AnyOf)
_REFUSED_BY_SQS: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def text_size(text: str, where: str) -> int:
    """Bytes of the text in UTF-8; a lone surrogate cannot be stored and is refused."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{where} has a lone surrogate at position {error.start}: not valid text") from None


def item_size(item: Mapping[str, Value]) -> int:
    """Bytes as DynamoDB counts them: names and values."""
    size = 0
    for name, value in item.items():
        # The two commonest kinds of attribute come first: every write comes through here.
        if type(value) is str and value.isascii():
            size += _name_size(name) + len(value)
        elif type(value) is int and 0 <= value < _INT_LIMIT:
            size += _name_size(name) + (len(str(value)) + 1) // 2 + 1
        else:
            size += _name_size(name) + _value_size(name, value)
    return size


def check_key(key: Key) -> None:
    """Refuses keys that are empty, too long, or not text."""
    _check_key_text("pk", key.pk)
    _check_key_text("sk", key.sk)


def check_item(item: Item) -> int:
    """Refuses an item without keys, of another type or above 400 KB; returns its size."""
    if "pk" not in item or "sk" not in item:
        missing = "pk" if "pk" not in item else "sk"
        raise ValueError(f"an item needs pk and sk: {missing} is missing (attributes: {sorted(item)})")
    _check_key_text("pk", item["pk"])
    _check_key_text("sk", item["sk"])
    _check_expiry(item)
    size = item_size(item)
    if size > MAX_ITEM_BYTES:
        where = f"{item['pk']!r} / {item['sk']!r}"
        raise ValueError(f"item {where} is {size} bytes, above the limit of {MAX_ITEM_BYTES} (400 KB)")
    return size


def check_changes(key: Key, changes: Changes) -> int:
    """Refuses an update of nothing, of a key, or of one attribute twice; returns the size of what it sets."""
    check_key(key)
    names = {*changes.set, *changes.remove, *changes.add}
    if not names or "pk" in names or "sk" in names:
        problem = "would change its key: write another item instead" if names else "changes nothing"
        raise ValueError(f"update of {key.pk} / {key.sk} {problem}")
    if len(names) != len(changes.set) + len(changes.remove) + len(changes.add):
        twice = sorted((*changes.set, *changes.remove, *changes.add))
        raise ValueError(f"update of {key.pk} / {key.sk} names an attribute twice: {twice}")
    for name, amount in changes.add.items():
        if type(amount) is not int:
            where = f"update of {key.pk} / {key.sk}"
            raise ValueError(f"{where} would add {amount!r} to {name}: only whole numbers are added")
    _check_expiry(changes.set)
    size = item_size(changes.set)
    return (
        size + item_size(changes.add) + sum(map(_name_size, changes.remove)) if changes.add or changes.remove else size
    )


def check_condition(condition: Condition | None) -> None:
    """Refuses conditions that DynamoDB cannot express."""
    if type(condition) in _NEEDS_NO_CHECK:
        return
    if isinstance(condition, _GROUPS):
        if not condition.conditions:
            raise ValueError(f"{type(condition).__name__} of no conditions")
        for part in condition.conditions:
            check_condition(part)
    elif isinstance(condition, In):
        attribute, values = condition.attribute, condition.values
        if not 1 <= len(values) <= MAX_IN_VALUES:
            raise ValueError(f"In({attribute!r}) takes 1 to {MAX_IN_VALUES} values, not {len(values)}")
        for value in values:
            _value_size(attribute, value)
    elif isinstance(condition, Equals | LessThan):
        _value_size(condition.attribute, condition.value)


def check_writes(writes: Sequence[Write]) -> None:
    """Refuses a transaction that is too long, too large, or writes a key twice."""
    if len(writes) > MAX_TRANSACTION_WRITES:
        raise ValueError(f"a transaction of {len(writes)} writes is above the limit of {MAX_TRANSACTION_WRITES}")
    keys: set[Key] = set()
    size = 0
    for write in writes:
        check_condition(write.when)
        match write:
            case Put(item):
                size += check_item(item)
            case Update(key, changes):
                size += check_changes(key, changes)
            case _:
                check_key(write.key)
        key = write_key(write)
        if key in keys:
            raise ValueError(f"a transaction writes {key.pk} / {key.sk} twice")
        keys.add(key)
    if size > MAX_TRANSACTION_BYTES:
        raise ValueError(f"a transaction of {size} bytes is above the limit of {MAX_TRANSACTION_BYTES} (4 MB)")


def write_key(write: Write) -> Key:
    """The key that a write touches."""
    if isinstance(write, Put):
        return Key(str(write.item["pk"]), str(write.item["sk"]))
    return write.key


def check_query(partition: str, first: str | None, last: str | None, limit: int | None) -> None:
    """Refuses invalid keys, and a page of no items."""
    _check_key_text("pk", partition)
    for bound in (first, last):
        if bound is not None:
            _check_key_text("sk", bound)
    if limit is not None and limit < 1:
        raise ValueError(f"a query's limit must be at least 1, not {limit}")


def check_message(message: Message, longest_delay_seconds: float = MAX_DELAY_SECONDS) -> int:
    """Refuses what SQS would refuse, except delays up to `longest_delay_seconds`; returns the size in bytes."""
    if not 0 <= message.delay_seconds <= longest_delay_seconds:
        raise ValueError(f"a message's delay must be 0 to {longest_delay_seconds} s, not {message.delay_seconds}")
    size = text_size(message.body, "a message")
    if not 1 <= size <= MAX_MESSAGE_BYTES:
        raise ValueError(f"a message must have 1 to {MAX_MESSAGE_BYTES} bytes, not {size}")
    if found := _REFUSED_BY_SQS.search(message.body):
        raise ValueError(f"a message has the character {found[0]!r} at {found.start()}: escape it, as JSON does")
    return size


def check_blob_key(key: str) -> None:
    """Refuses an empty or too long blob key."""
    if not 1 <= text_size(key, "a blob key") <= MAX_BLOB_KEY_BYTES:
        raise ValueError(f"a blob key must have 1 to {MAX_BLOB_KEY_BYTES} bytes: {key[:80]!r}")
    if "\0" in key:
        raise ValueError(f"a blob key has a NUL: {key[:80]!r}")


def check_blob_prefix(prefix: str) -> None:
    """Refuses the empty prefix, which would delete everything."""
    if not prefix:
        raise ValueError("delete_prefix needs a prefix: the empty one would delete every blob")
    check_blob_key(prefix)


def _check_key_text(name: str, value: Value) -> None:
    # Nearly every key is short ASCII text, which is within every limit.
    if type(value) is str and value.isascii() and 0 < len(value) <= _KEY_LIMITS[name]:
        return
    if not isinstance(value, str):
        _refuse_type(name, value, "text")
    size = text_size(value, name)
    if not 1 <= size <= _KEY_LIMITS[name]:
        raise ValueError(f"{name} must have 1 to {_KEY_LIMITS[name]} bytes, not {size}: {value[:80]!r}")


def _check_expiry(attributes: Mapping[str, Value]) -> None:
    if (expires_at := attributes.get("expires_at")) is not None and (
        type(expires_at) is not int or not -_EXPIRY_LIMIT <= expires_at < _EXPIRY_LIMIT
    ):
        raise ValueError(f"expires_at must be whole Unix seconds, not {expires_at!r}")


@functools.lru_cache(maxsize=256)  # an engine has some forty names, and each item a dozen of them
def _name_size(name: str) -> int:
    if not name:
        raise ValueError("an attribute has an empty name")
    return text_size(name, "an attribute name")


def _value_size(name: str, value: Value) -> int:
    if isinstance(value, str):
        return text_size(value, name)
    if isinstance(value, bool):
        return 1
    if isinstance(value, int):
        if not -_INT_LIMIT < value < _INT_LIMIT:
            raise ValueError(f"{name} is a number of more than 38 digits")
        return (len(str(abs(value))) + 1) // 2 + 1 + (value < 0)
    if isinstance(value, bytes):
        return len(value)
    return _refuse_type(name, value, "str, int, bool or bytes")


def _refuse_type(name: str, value: object, wanted: str) -> NoReturn:
    raise ValueError(f"attribute {name} must be {wanted}, not {type(value).__name__}: {value!r:.80}")
