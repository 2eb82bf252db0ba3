"""Random histories: every table ends like a dict that follows the same rules."""

import itertools
from collections.abc import Awaitable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milepost_engine.adapters.local.conditions import holds
from milepost_engine.adapters.local.sqlite import SqliteStore
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
    Table,
    TransactionFailed,
    Update,
    Write,
)

from .labs import Lab

_numbers = itertools.count()

NAMES = st.sampled_from(["a", "b", "c", "status"])
NUMBERS = st.integers(-3, 3)
VALUES = NUMBERS | st.booleans() | st.text(max_size=3) | st.binary(max_size=3)
SORT_KEYS = st.sampled_from(["1", "2", "3", "é"])
CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    st.just(Absent())
    | st.builds(HasAttribute, NAMES)
    | st.builds(LacksAttribute, NAMES)
    | st.builds(Equals, NAMES, VALUES)
    | st.builds(LessThan, NAMES, NUMBERS)
    | st.builds(In, NAMES, st.lists(VALUES, min_size=1, max_size=3).map(tuple)),
    lambda parts: (
        st.builds(AllOf, st.lists(parts, min_size=1, max_size=3).map(tuple))
        | st.builds(AnyOf, st.lists(parts, min_size=1, max_size=3).map(tuple))
    ),
    max_leaves=4,
)
WHENS = st.none() | CONDITIONS
ATTRIBUTES = st.dictionaries(NAMES, VALUES, max_size=3)


@st.composite
def updates(draw: st.DrawFn) -> Update:
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    set_: Item = {}
    remove: list[str] = []
    add: dict[str, int] = {}
    for name in names:
        match draw(st.sampled_from(["set", "remove", "add"])):
            case "set":
                set_[name] = draw(VALUES)
            case "remove":
                remove.append(name)
            case _:
                add[name] = draw(NUMBERS)
    return Update(Key("", draw(SORT_KEYS)), Changes(set_, tuple(remove), add), draw(WHENS))


WRITES: st.SearchStrategy[Write] = (
    st.builds(lambda sk, rest, when: Put({"pk": "", "sk": sk, **rest}, when), SORT_KEYS, ATTRIBUTES, WHENS)
    | updates()
    | st.builds(lambda sk, when: Delete(Key("", sk), when), SORT_KEYS, WHENS)
)


class Model:
    """The rules in the fewest words."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}

    def transact(self, writes: list[Write]) -> set[object]:
        """The outcomes that the writes may have."""
        failed = tuple(
            n
            for n, write in enumerate(writes)
            if write.when is not None and not holds(write.when, self.items.get(_sort_key(write)))
        )
        if failed:
            # Instead of a failed condition, the refusal of an addition may be reported: nothing is written either way.
            senseless = len(writes) > 1 and any(_sum(write, self.items) is None for write in writes)
            return {failed, "refused"} if senseless else {failed}
        after = dict(self.items)
        for write in writes:
            match write:
                case Put(item):
                    after[_sort_key(write)] = dict(item)
                case Delete(key):
                    after.pop(key.sk, None)
                case Update(key):
                    if (summed := _sum(write, after)) is None:
                        return {"refused"}
                    after[key.sk] = summed
        self.items = after
        return {"written"}


def _sum(write: Write, items: dict[str, Item]) -> Item | None:
    """The item that an update makes; None where it adds to no number. Another write makes sense always."""
    if not isinstance(write, Update):
        return {}
    key, changes = write.key, write.changes
    item = {**items.get(key.sk, {"pk": key.pk, "sk": key.sk}), **changes.set}
    item = {name: value for name, value in item.items() if name not in changes.remove}
    for name, amount in changes.add.items():
        if type(number := item.get(name, 0)) is not int:
            return None
        item[name] = number + amount
    return item


def _sort_key(write: Write) -> str:
    return str(write.item["sk"]) if isinstance(write, Put) else write.key.sk


HISTORIES = st.lists(WRITES | st.lists(WRITES, min_size=1, max_size=4, unique_by=_sort_key), max_size=25)


def _in_partition(write: Write, pk: str) -> Write:
    if isinstance(write, Put):
        return Put({**write.item, "pk": pk}, write.when)
    if isinstance(write, Update):
        return Update(Key(pk, write.key.sk), write.changes, write.when)
    return Delete(Key(pk, write.key.sk), write.when)


async def _written(table: Table, write: Write) -> None:
    match write:
        case Put(item, when):
            await table.put(item, when)
        case Update(key, changes, when):
            await table.update(key, changes, when)
        case Delete(key, when):
            await table.delete(key, when)


async def _outcome(call: Awaitable[object]) -> object:
    try:
        await call
    except ConditionFailed:
        return (0,)
    except TransactionFailed as failure:
        return failure.failed
    except ValueError:
        return "refused"
    return "written"


def typed(items: list[Item]) -> list[list[tuple[str, str, object]]]:
    return [sorted((name, type(value).__name__, value) for name, value in item.items()) for item in items]


async def _replay(table: Table, pk: str, history: list[Write | list[Write]]) -> None:
    model = Model()
    for entry in history:
        writes = [_in_partition(write, pk) for write in (entry if isinstance(entry, list) else [entry])]
        call = table.transact(writes) if isinstance(entry, list) else _written(table, writes[0])
        assert await _outcome(call) in model.transact(writes)
    stored = (await table.query(pk)).items
    assert typed(stored) == typed([{**model.items[sk], "pk": pk} for sk in sorted(model.items)])


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(history=HISTORIES)
async def test_a_random_history_leaves_what_the_rules_say(strict_lab: Lab, history: list[Write | list[Write]]) -> None:
    await _replay(strict_lab.table, strict_lab.name(), history)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(history=HISTORIES)
async def test_many_random_histories_leave_on_sqlite_what_the_rules_say(
    store: SqliteStore, history: list[Write | list[Write]]
) -> None:
    await _replay(store.table, f"p{next(_numbers)}", history)
