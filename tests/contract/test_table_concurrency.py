"""What every Table promises to writers that meet."""

import asyncio

from milepost_engine.ports import (
    Absent,
    Changes,
    ConditionFailed,
    Delete,
    Equals,
    Key,
    LessThan,
    Put,
    TableBusy,
    TransactionFailed,
    Update,
)

from .labs import Lab


async def test_of_fifty_writers_that_exclude_each_other_exactly_one_wins(strict_lab: Lab) -> None:
    key = Key(strict_lab.name(), "lock")

    async def claim(owner: int) -> bool:
        try:
            await strict_lab.table.put({"pk": key.pk, "sk": key.sk, "owner": owner}, when=Absent())
        except ConditionFailed as failure:
            return failure.existing is None  # the loser is shown the winner
        return True

    won = await asyncio.gather(*(claim(owner) for owner in range(50)))
    assert sum(won) == 1
    assert (await strict_lab.table.get(key) or {})["owner"] == won.index(True)


async def test_counters_lose_nothing(strict_lab: Lab) -> None:
    key = Key(strict_lab.name(), "counter")
    results = await asyncio.gather(*(strict_lab.table.update(key, Changes(add={"n": 1})) for _ in range(60)))
    assert sorted(int(item["n"]) for item in results) == list(range(1, 61))


async def test_a_bounded_counter_never_passes_its_bound(strict_lab: Lab) -> None:
    key = Key(strict_lab.name(), "slots")
    await strict_lab.table.put({"pk": key.pk, "sk": key.sk, "used": 0})

    async def take() -> bool:
        try:
            await strict_lab.table.update(key, Changes(add={"used": 1}), when=LessThan("used", 7))
        except ConditionFailed:
            return False
        return True

    assert sum(await asyncio.gather(*(take() for _ in range(40)))) == 7
    assert (await strict_lab.table.get(key) or {})["used"] == 7


async def test_compare_and_set_chains_lose_no_link(strict_lab: Lab) -> None:
    key = Key(strict_lab.name(), "chain")
    await strict_lab.table.put({"pk": key.pk, "sk": key.sk, "version": 0, "trail": ""})

    async def link(name: str) -> None:
        for _ in range(5):
            while True:
                item = await strict_lab.table.get(key) or {}
                version = int(item["version"])
                changed = {**item, "version": version + 1, "trail": f"{item['trail']!s}{name}"}
                try:
                    await strict_lab.table.put(changed, when=Equals("version", version))
                except ConditionFailed:
                    continue
                break

    await asyncio.gather(*(link(name) for name in "abcd"))
    item = await strict_lab.table.get(key) or {}
    assert item["version"] == 20
    assert sorted(str(item["trail"])) == sorted("abcd" * 5)


async def test_transactions_that_exclude_each_other_never_mix(strict_lab: Lab) -> None:
    lab, pk = strict_lab, strict_lab.name()

    async def take_both(owner: int) -> bool:
        order = ("left", "right") if owner % 2 else ("right", "left")
        writes = [Put({"pk": pk, "sk": side, "owner": owner}, when=Absent()) for side in order]
        while True:
            try:
                await lab.table.transact(writes)
            except TransactionFailed:
                return False
            except TableBusy:
                continue
            return True

    won = await asyncio.gather(*(take_both(owner) for owner in range(20)))
    assert sum(won) == 1
    owners = {item["owner"] for item in (await lab.table.query(pk)).items}
    assert owners == {won.index(True)}


async def test_transfers_keep_the_total(strict_lab: Lab) -> None:
    lab, pk = strict_lab, strict_lab.name()
    for name in "abc":
        await lab.table.put({"pk": pk, "sk": name, "amount": 10})

    async def transfer(source: str, target: str) -> None:
        while True:
            try:
                await lab.table.transact([
                    Update(Key(pk, source), Changes(add={"amount": -1})),
                    Update(Key(pk, target), Changes(add={"amount": 1})),
                ])  # fmt: skip
            except TableBusy:
                continue
            return

    pairs = [("a", "b"), ("b", "c"), ("c", "a"), ("a", "c"), ("b", "a")] * 4
    await asyncio.gather(*(transfer(*pair) for pair in pairs))
    amounts = {str(item["sk"]): int(item["amount"]) for item in (await lab.table.query(pk)).items}
    assert sum(amounts.values()) == 30
    assert amounts == {"a": 10 - 8 + 4 + 4, "b": 10 + 4 - 8, "c": 10 + 4 + 4 - 4}


async def test_an_item_is_deleted_by_one_of_many(strict_lab: Lab) -> None:
    lab, key = strict_lab, Key(strict_lab.name(), "baton")
    await lab.table.put({"pk": key.pk, "sk": key.sk, "holder": "h"})

    async def remove() -> bool:
        try:
            await lab.table.delete(key, when=Equals("holder", "h"))
        except ConditionFailed:
            return False
        return True

    assert sum(await asyncio.gather(*(remove() for _ in range(20)))) == 1


async def test_a_reader_sees_every_write_that_returned(strict_lab: Lab) -> None:
    lab, pk = strict_lab, strict_lab.name()

    async def write_and_read(number: int) -> None:
        key = Key(pk, f"{number:02}")
        await lab.table.put({"pk": key.pk, "sk": key.sk})
        assert await lab.table.get(key) is not None
        assert key.sk in {item["sk"] for item in (await lab.table.query(pk)).items}
        await lab.table.transact([Delete(key)])
        assert await lab.table.get(key) is None

    await asyncio.gather(*(write_and_read(number) for number in range(20)))
