"""The limits that every Table enforces: what works on a laptop works on AWS."""

import re
from collections.abc import Callable

import pytest

from milepost_engine.ports import (
    AllOf,
    AnyOf,
    Changes,
    Equals,
    In,
    Item,
    Key,
    LessThan,
    Put,
    TransactionFailed,
    Update,
)

from .labs import Lab, key_of

LIMIT = 400 * 1024


async def test_an_item_of_400_kb_is_taken_and_one_byte_more_is_refused(strict_lab: Lab) -> None:
    lab, pk = strict_lab, strict_lab.name()
    room = LIMIT - len("pk" + pk + "sk" + "s" + "v")
    await lab.table.put({"pk": pk, "sk": "s", "v": "x" * room})
    with pytest.raises(ValueError, match="above the limit of 409600"):
        await lab.table.put({"pk": pk, "sk": "s", "v": "x" * (room + 1)})
    with pytest.raises(ValueError, match="above the limit of 409600"):
        await lab.table.put({"pk": pk, "sk": "s", "v": "é" * (room // 2 + 1)})


async def test_an_update_that_would_grow_an_item_past_400_kb_is_refused(strict_lab: Lab) -> None:
    item = strict_lab.item(a="x" * 300_000)
    await strict_lab.table.put(item)
    with pytest.raises(ValueError, match=r"(?i)item size|above the limit"):
        await strict_lab.table.update(key_of(item), Changes(set={"b": "x" * 200_000}))
    assert await strict_lab.table.get(key_of(item)) == item


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pk": ""}, "pk must have 1 to 2048 bytes, not 0"),
        ({"sk": ""}, "sk must have 1 to 1024 bytes, not 0"),
        ({"pk": "é" * 1025}, "pk must have 1 to 2048 bytes, not 2050"),
        ({"sk": "x" * 1025}, "sk must have 1 to 1024 bytes, not 1025"),
        ({"sk": 5}, "attribute sk must be text, not int: 5"),
        ({"v": 1.5}, "attribute v must be str, int, bool or bytes, not float: 1.5"),
        ({"v": None}, "attribute v must be str, int, bool or bytes, not NoneType: None"),
        ({"v": ["x"]}, "attribute v must be str, int, bool or bytes, not list: ['x']"),
        ({"v": 10**38}, "v is a number of more than 38 digits"),
        ({"v": "\ud800"}, "v has a lone surrogate at position 0"),
        ({"sk": "a\udfff"}, "sk has a lone surrogate at position 1"),
        ({"\ud800": 1}, "an attribute name has a lone surrogate"),
        ({"": 1}, "an attribute has an empty name"),
        ({"expires_at": "soon"}, "expires_at must be whole Unix seconds, not 'soon'"),
        ({"expires_at": True}, "expires_at must be whole Unix seconds, not True"),
        ({"expires_at": 2**63}, "expires_at must be whole Unix seconds"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_an_item_that_aws_would_not_take_is_refused(lab: Lab, change: Item, said: str) -> None:
    item = {**lab.item(), **change}
    with pytest.raises(ValueError, match=re.escape(said)):
        await lab.table.put(item)
    with pytest.raises(ValueError, match=re.escape(said)):
        await lab.table.transact([Put(item)])


async def test_the_longest_keys_are_taken(lab: Lab) -> None:
    pk = (lab.name() + "x" * 2048)[:2048]
    item: Item = {"pk": pk, "sk": "é" * 512}
    await lab.table.put(item)
    assert await lab.table.get(key_of(item)) == item
    assert (await lab.table.query(pk)).items == [item]


@pytest.mark.parametrize("missing", ["pk", "sk"])
async def test_an_item_without_its_keys_is_refused(lab: Lab, missing: str) -> None:
    item = lab.item()
    del item[missing]
    with pytest.raises(ValueError, match=f"{missing} is missing"):
        await lab.table.put(item)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (Changes(), "changes nothing"),
        (Changes(set={"pk": "x"}), "would change its key"),
        (Changes(remove=("sk",)), "would change its key"),
        (Changes(set={"a": 1}, add={"a": 1}), "names an attribute twice"),
        (Changes(remove=("a", "a")), "names an attribute twice"),
        (Changes(add={"a": True}), "only whole numbers are added"),
        (Changes(set={"a": 1.5}), "not float"),  # type: ignore[dict-item]
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_an_update_that_aws_would_not_take_is_refused(lab: Lab, changes: Changes, said: str) -> None:
    key = Key(lab.name(), "s")
    with pytest.raises(ValueError, match=said):
        await lab.table.update(key, changes)
    with pytest.raises(ValueError, match=said):
        await lab.table.transact([Update(key, changes)])
    assert await lab.table.get(key) is None


async def test_adding_to_what_is_no_number_is_refused(strict_lab: Lab) -> None:
    item = strict_lab.item(name="text", flag=True)
    await strict_lab.table.put(item)
    for name in ("name", "flag"):
        with pytest.raises(ValueError, match=r"cannot add|incorrect data type|type mismatch"):
            await strict_lab.table.update(key_of(item), Changes(add={name: 1}))
        with pytest.raises(ValueError, match=r"cannot add|incorrect data type|type mismatch"):
            await strict_lab.table.transact([Update(key_of(item), Changes(add={name: 1}))])
    assert await strict_lab.table.get(key_of(item)) == item


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (In("a", ()), "takes 1 to 100 values, not 0"),
        (In("a", tuple(range(101))), "takes 1 to 100 values, not 101"),
        (AllOf(()), "AllOf of no conditions"),
        (AnyOf(()), "AnyOf of no conditions"),
        (AllOf((AnyOf((Equals("a", "\ud800"),)),)), "lone surrogate"),
        (LessThan("a", 10**38), "more than 38 digits"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_condition_that_aws_cannot_express_is_refused(lab: Lab, condition: AllOf, said: str) -> None:
    item = lab.item()
    for refused in (
        lab.table.put(item, when=condition),
        lab.table.update(key_of(item), Changes(set={"a": 1}), when=condition),
        lab.table.delete(key_of(item), when=condition),
        lab.table.transact([Put(item, when=condition)]),
    ):
        with pytest.raises(ValueError, match=said):
            await refused


async def test_a_transaction_that_writes_a_key_twice_is_refused(lab: Lab) -> None:
    item = lab.item()
    with pytest.raises(ValueError, match="twice"):
        await lab.table.transact([Put(item), Update(key_of(item), Changes(set={"a": 1}))])


async def test_a_transaction_above_4_mb_is_refused(lab: Lab) -> None:
    with pytest.raises(ValueError, match="4 MB"):
        await lab.table.transact([Put(lab.item(v="x" * 380_000)) for _ in range(12)])


@pytest.mark.parametrize(
    "call",
    [
        lambda lab: lab.table.get(Key("", "s")),
        lambda lab: lab.table.get_many([Key("p", "s"), Key("p", "")]),
        lambda lab: lab.table.delete(Key("p", "")),
        lambda lab: lab.table.query(""),
        lambda lab: lab.table.query("p", limit=0),
        lambda lab: lab.table.query("p", first=""),
        lambda lab: lab.table.query("p", after="nonsense"),
        lambda lab: lab.table.query("p", after='["a","b"]'),
    ],
    ids=["get", "get_many", "delete", "partition", "limit", "first", "cursor", "foreign_cursor"],
)
async def test_a_call_that_aws_would_not_take_is_refused(lab: Lab, call: Callable) -> None:
    with pytest.raises(ValueError, match=r"1 to|at least 1|not a cursor"):
        await call(lab)


async def test_a_refused_write_does_not_touch_its_neighbours(lab: Lab) -> None:
    item = lab.item()
    with pytest.raises(TransactionFailed):
        await lab.table.transact([Put(item), Put(lab.item(), when=Equals("a", 1))])
    assert await lab.table.get(key_of(item)) is None
