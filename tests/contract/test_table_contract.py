"""What every Table promises, one story per promise."""

import asyncio

import pytest

from milepost_engine.ports import (
    Absent,
    AllOf,
    AnyOf,
    Changes,
    Condition,
    ConditionFailed,
    Delete,
    Equals,
    HasAttribute,
    In,
    Item,
    Key,
    LacksAttribute,
    LessThan,
    Put,
    TransactionFailed,
    Update,
)

from .labs import Lab, key_of

EVERY_KIND: Item = {
    "text": "größe \U0001f680 \x00 \ufffd end",
    "empty": "",
    "number": -(10**37),
    "zero": 0,
    "big": 10**38 - 1,
    "yes": True,
    "no": False,
    "binary": bytes(range(256)),
    "nothing": b"",
    'quoted "name" #:$.[0]': "v",
}


async def test_an_item_comes_back_as_it_was_put(lab: Lab) -> None:
    item = lab.item(**EVERY_KIND)
    await lab.table.put(item)
    got = await lab.table.get(key_of(item))
    assert got == item
    assert {name: type(value) for name, value in got.items()} == {n: type(v) for n, v in item.items()}


async def test_what_was_never_put_is_none(lab: Lab) -> None:
    assert await lab.table.get(Key(lab.name(), "s")) is None


async def test_a_put_replaces_the_whole_item(lab: Lab) -> None:
    item = lab.item(a=1)
    await lab.table.put(item)
    await lab.table.put({"pk": item["pk"], "sk": "s", "b": 2})
    assert await lab.table.get(key_of(item)) == {"pk": item["pk"], "sk": "s", "b": 2}


async def test_a_caller_may_change_its_dict_after_put_began(lab: Lab) -> None:
    item = lab.item(a=1)
    putting = asyncio.ensure_future(lab.table.put(item))
    await putting
    item["a"] = 2
    assert (await lab.table.get(key_of(item)) or {})["a"] == 1


async def test_get_many_answers_in_the_order_of_the_keys(lab: Lab) -> None:
    pk = lab.name()
    for number in range(0, 240, 2):
        await lab.table.put({"pk": pk, "sk": f"{number:03}", "number": number})
    keys = [Key(pk, f"{number:03}") for number in range(240)] + [Key(pk, "000")]
    got = await lab.table.get_many(keys)
    assert [item and item["number"] for item in got] == [
        number if number % 2 == 0 else None for number in range(240)
    ] + [0]
    assert await lab.table.get_many([]) == []


async def test_an_update_sets_removes_adds_and_returns_the_whole_item(lab: Lab) -> None:
    item = lab.item(a="old", b="gone", count=5, kept=b"\x00")
    await lab.table.put(item)
    changes = Changes(set={"a": "new", "c": True}, remove=("b", "never"), add={"count": -7, "fresh": 3})
    updated = await lab.table.update(key_of(item), changes)
    assert updated == {
        "pk": item["pk"],
        "sk": "s",
        "a": "new",
        "c": True,
        "count": -2,
        "fresh": 3,
        "kept": b"\0",
    }
    assert await lab.table.get(key_of(item)) == updated


async def test_an_update_creates_a_missing_item(lab: Lab) -> None:
    key = Key(lab.name(), "s")
    assert await lab.table.update(key, Changes(add={"n": 1})) == {"pk": key.pk, "sk": "s", "n": 1}


async def test_an_update_may_forbid_itself_to_create(lab: Lab) -> None:
    key = Key(lab.name(), "s")
    with pytest.raises(ConditionFailed) as failure:
        await lab.table.update(key, Changes(set={"n": 1}), when=HasAttribute("pk"))
    assert failure.value.existing is None
    assert await lab.table.get(key) is None


async def test_a_delete_removes_the_item_and_may_be_repeated(lab: Lab) -> None:
    item = lab.item()
    await lab.table.put(item)
    await lab.table.delete(key_of(item))
    await lab.table.delete(key_of(item))
    assert await lab.table.get(key_of(item)) is None


STANDING: Item = {"status": "Running", "version": 7, "yes": True, "raw": b"\x01", "one": 1, "text1": "1"}

HOLDS: list[Condition] = [
    HasAttribute("status"),
    LacksAttribute("missing"),
    Equals("status", "Running"),
    Equals("version", 7),
    Equals("yes", True),
    Equals("raw", b"\x01"),
    LessThan("version", 8),
    In("status", ("Queued", "Running")),
    In("version", ("Running", 7)),
    AllOf((HasAttribute("status"), Equals("version", 7))),
    AnyOf((Absent(), Equals("version", 7))),
    AnyOf((AllOf((Absent(), HasAttribute("status"))), AllOf((LacksAttribute("missing"), LessThan("version", 100))))),
]

FAILS: list[Condition] = [
    Absent(),
    HasAttribute("missing"),
    LacksAttribute("status"),
    Equals("status", "running"),
    Equals("missing", "x"),
    Equals("one", "1"),
    Equals("text1", 1),
    Equals("raw", "\x01"),
    LessThan("version", 7),
    LessThan("missing", 7),
    In("status", ("Queued",)),
    In("missing", ("Queued",)),
    AllOf((HasAttribute("status"), Equals("version", 8))),
    AnyOf((Absent(), Equals("version", 8))),
]

FAILS_BY_TYPE: list[Condition] = [
    Equals("yes", 1),
    Equals("one", True),
    LessThan("status", 7),
    LessThan("yes", 7),
    In("one", (True, "1")),
]


@pytest.mark.parametrize("condition", HOLDS, ids=repr)
async def test_a_condition_that_holds_lets_the_write_through(lab: Lab, condition: Condition) -> None:
    item = lab.item(**STANDING)
    await lab.table.put(item)
    await lab.table.put({**item, "written": 1}, when=condition)
    await lab.table.update(key_of(item), Changes(set={"written": 2}), when=condition)
    await lab.table.transact([Update(key_of(item), Changes(set={"written": 3}), when=condition)])
    assert (await lab.table.get(key_of(item)) or {})["written"] == 3
    await lab.table.delete(key_of(item), when=condition)
    assert await lab.table.get(key_of(item)) is None


@pytest.mark.parametrize("condition", FAILS, ids=repr)
async def test_a_condition_that_fails_writes_nothing_and_returns_the_existing_item(
    lab: Lab, condition: Condition
) -> None:
    await _expect_nothing_written(lab, condition)


@pytest.mark.parametrize("condition", FAILS_BY_TYPE, ids=repr)
async def test_values_of_different_types_are_never_equal_nor_less(strict_lab: Lab, condition: Condition) -> None:
    await _expect_nothing_written(strict_lab, condition)


async def _expect_nothing_written(lab: Lab, condition: Condition) -> None:
    item = lab.item(**STANDING)
    await lab.table.put(item)
    for write in (
        lab.table.put({**item, "written": 1}, when=condition),
        lab.table.update(key_of(item), Changes(set={"written": 1}), when=condition),
        lab.table.delete(key_of(item), when=condition),
    ):
        with pytest.raises(ConditionFailed) as failure:
            await write
        assert failure.value.key == key_of(item)
        assert failure.value.existing == item
    with pytest.raises(TransactionFailed):
        await lab.table.transact([Delete(key_of(item), when=condition)])
    assert await lab.table.get(key_of(item)) == item


@pytest.mark.parametrize(
    "condition", [*HOLDS[2:9], HasAttribute("pk"), AllOf((LacksAttribute("a"), HasAttribute("b")))], ids=repr
)
async def test_only_absence_holds_for_a_missing_item(lab: Lab, condition: Condition) -> None:
    item = lab.item()
    with pytest.raises(ConditionFailed) as failure:
        await lab.table.put(item, when=condition)
    assert failure.value.existing is None
    await lab.table.put(item, when=AllOf((Absent(), LacksAttribute("pk"))))


async def test_an_expired_item_is_gone_for_every_reader(lab: Lab) -> None:
    pk = lab.name()
    lasting: Item = {"pk": pk, "sk": "lasting", "expires_at": lab.now() + 61}
    passing: Item = {"pk": pk, "sk": "passing", "expires_at": lab.now() + 60}
    await lab.table.put(lasting)
    await lab.table.put(passing)
    await lab.clock.advance(59)
    assert len((await lab.table.query(pk)).items) == 2
    await lab.clock.advance(1)
    assert await lab.table.get(Key(pk, "passing")) is None
    assert await lab.table.get_many([Key(pk, "passing"), Key(pk, "lasting")]) == [None, lasting]
    assert (await lab.table.query(pk)).items == [lasting]


async def test_an_expired_item_does_not_count_as_absent(lab: Lab) -> None:
    item = lab.item(expires_at=lab.now() + 10)
    await lab.table.put(item)
    await lab.clock.advance(10)
    with pytest.raises(ConditionFailed) as failure:
        await lab.table.put(item, when=Absent())
    assert failure.value.existing == item
    await lab.table.put({**item, "expires_at": lab.now() + 10}, when=LessThan("expires_at", lab.now() + 1))
    assert await lab.table.get(key_of(item)) is not None


async def test_a_query_returns_the_range_in_the_order_of_its_sort_keys(lab: Lab) -> None:
    pk = lab.name()
    keys = ["a#1", "a#10", "a#2", "b", "é", "\uffee", "\U0001f680"]  # the order of their UTF-8 bytes
    for sk in reversed(keys):
        await lab.table.put({"pk": pk, "sk": sk, "v": sk})
    await lab.table.put({"pk": pk + "x", "sk": "b"})

    async def found(**how: object) -> list[str]:
        return [str(item["sk"]) for item in (await lab.table.query(pk, **how)).items]  # type: ignore[arg-type]

    assert await found() == keys
    assert await found(newest_first=True) == keys[::-1]
    assert await found(first="a#10") == keys[1:]
    assert await found(last="b") == keys[:4]
    assert await found(first="a#10", last="b") == keys[1:4]
    assert await found(first="b", last="b", newest_first=True) == ["b"]
    assert await found(first="c", last="b") == []
    assert await found(limit=2) == keys[:2]
    assert await lab.table.query(lab.name()) == (await lab.table.query(pk, first="\U0001f681"))


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("limit", [1, 3, 10, 11])
async def test_pages_follow_each_other_without_gap_or_repeat(lab: Lab, *, newest_first: bool, limit: int) -> None:
    pk, now = lab.name(), lab.now()
    for number in range(20):  # every other one has expired: a page counts what it returns
        await lab.table.put({"pk": pk, "sk": f"{number:02}", "expires_at": now + 100 * (number % 2)})
    expected = [f"{number:02}" for number in range(20) if number % 2]
    seen: list[str] = []
    after, pages = None, 0
    while True:
        page = await lab.table.query(pk, limit=limit, newest_first=newest_first, after=after)
        assert len(page.items) <= limit
        seen += [str(item["sk"]) for item in page.items]
        pages += 1
        if page.next is None:
            break
        assert len(page.items) == limit
        after = page.next
    assert seen == (expected[::-1] if newest_first else expected)
    assert pages <= 10 // limit + 1


async def test_a_page_may_continue_within_a_range(lab: Lab) -> None:
    pk = lab.name()
    for number in range(9):
        await lab.table.put({"pk": pk, "sk": str(number)})
    page = await lab.table.query(pk, first="2", last="6", limit=3)
    rest = await lab.table.query(pk, first="2", last="6", limit=3, after=page.next)
    assert [item["sk"] for item in page.items + rest.items] == ["2", "3", "4", "5", "6"]
    assert rest.next is None


async def test_a_partition_of_many_large_items_is_read_whole(strict_lab: Lab) -> None:
    lab, pk = strict_lab, strict_lab.name()
    await asyncio.gather(*(lab.table.put({"pk": pk, "sk": f"{n:02}", "v": "x" * 300_000}) for n in range(12)))
    everything = await lab.table.query(pk)
    assert [item["sk"] for item in everything.items] == [f"{n:02}" for n in range(12)]
    assert everything.next is None
    assert all(await lab.table.get_many([Key(pk, f"{n:02}") for n in range(12)]))


async def test_a_transaction_writes_all(lab: Lab) -> None:
    pk = lab.name()
    await lab.table.put({"pk": pk, "sk": "c", "n": 1})
    await lab.table.put({"pk": pk, "sk": "d"})
    await lab.table.transact([
        Put({"pk": pk, "sk": "a"}, when=Absent()),
        Update(Key(pk, "b"), Changes(add={"n": 4})),
        Update(Key(pk, "c"), Changes(add={"n": 1}, set={"x": "y"}), when=Equals("n", 1)),
        Delete(Key(pk, "d"), when=HasAttribute("pk")),
    ])  # fmt: skip
    assert (await lab.table.query(pk)).items == [
        {"pk": pk, "sk": "a"},
        {"pk": pk, "sk": "b", "n": 4},
        {"pk": pk, "sk": "c", "n": 2, "x": "y"},
    ]
    await lab.table.transact([])


async def test_a_transaction_with_failed_conditions_writes_nothing_and_names_them(lab: Lab) -> None:
    pk = lab.name()
    await lab.table.put({"pk": pk, "sk": "b"})
    with pytest.raises(TransactionFailed) as failure:
        await lab.table.transact([
            Put({"pk": pk, "sk": "a"}, when=Absent()),
            Put({"pk": pk, "sk": "b", "n": 1}, when=Absent()),
            Delete(Key(pk, "c")),
            Update(Key(pk, "d"), Changes(set={"n": 1}), when=HasAttribute("pk")),
        ])  # fmt: skip
    assert failure.value.failed == (1, 3)
    assert (await lab.table.query(pk)).items == [{"pk": pk, "sk": "b"}]


async def test_a_transaction_takes_a_hundred_writes(strict_lab: Lab) -> None:
    lab, pk = strict_lab, strict_lab.name()
    await lab.table.transact([Put({"pk": pk, "sk": f"{number:03}"}, when=Absent()) for number in range(100)])
    assert len((await lab.table.query(pk)).items) == 100
    with pytest.raises(ValueError, match="101 writes is above the limit of 100"):
        await lab.table.transact([Put({"pk": pk, "sk": f"{number:03}"}) for number in range(101)])
