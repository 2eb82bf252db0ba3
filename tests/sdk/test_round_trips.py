"""A model comes back as it was, or is refused with words that fit the cause: nothing is lost or changed in silence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Literal
from uuid import UUID

import pytest
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    SecretStr,
    TypeAdapter,
    computed_field,
    field_serializer,
)

from milepost import App, Context, Event
from milepost._declare.triggers import received_event
from milepost._values.events import wire_event
from milepost._values.serializer import pack, unpack
from milepost.errors import EventMismatchError, NotSerializableError
from milepost.sending import RecordingTransport

from .fake_server import FakeServer

MOMENT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


class OneAlias(BaseModel):
    number: str = Field(validation_alias="orderNumber")


class TwoAliases(BaseModel):
    number: str = Field(default="none", validation_alias="orderNumber", serialization_alias="order_no")


class Choices(BaseModel):
    key: str = Field(validation_alias=AliasChoices("_id", "pk"))


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    width: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.width**2


class WithJson(BaseModel):
    settings: Json[Any]


class Color(Enum):
    RED = "r"


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    at: datetime
    key: UUID
    price: Decimal
    pair: tuple[int, str]
    tags: frozenset[str]
    color: Color


class Priced(BaseModel):
    price: Decimal


class Excluded(BaseModel):
    name: str
    cache: str = Field(default="none", exclude=True)


class ExcludedRequired(BaseModel):
    name: str
    cache: str = Field(exclude=True)


class Animal(BaseModel):
    name: str


class Dog(Animal):
    breed: str


class Quiet(Animal):
    """A subclass without fields of its own."""


class Zoo(BaseModel):
    animals: list[Animal]


class Cat(BaseModel):
    name: str


@dataclass
class Box:
    animal: Animal


class Secret(BaseModel):
    token: SecretStr


class Shown(BaseModel):
    token: SecretStr

    @field_serializer("token", when_used="json")
    def show(self, token: SecretStr) -> str:
        return token.get_secret_value()


class Tagged(BaseModel):
    kind: Literal["a"] = "a"


STRICT = Strict(
    at=MOMENT, key=UUID(int=7), price=Decimal("1.10"), pair=(1, "a"), tags=frozenset({"x"}), color=Color.RED
)
SAME: dict[str, tuple[Any, Any]] = {
    "validation_alias": (OneAlias, OneAlias(orderNumber="1")),
    "two aliases and a default": (TwoAliases, TwoAliases(orderNumber="1")),
    "alias choices": (Choices, Choices(_id="1")),
    "computed field": (Computed, Computed(width=3)),
    "Json": (WithJson, WithJson(settings='{"a": 1}')),
    "Json that looks like another": (WithJson, WithJson(settings='"1"')),
    "strict": (Strict, STRICT),
    "excluded at its default": (Excluded, Excluded(name="a")),
    "a secret that is shown on purpose": (Shown, Shown(token=SecretStr("hunter2"))),
    "asterisks": (Animal, Animal(name="**********")),
    "subclass in a union": (Dog | Animal, Dog(name="rex", breed="lab")),
    "list": (list[Tagged], [Tagged()]),
}


@pytest.mark.parametrize("name", SAME)
def test_a_model_that_can_be_carried_comes_back_as_it_was(name: str) -> None:
    annotation, value = SAME[name]
    adapter = TypeAdapter[Any](annotation)
    back = unpack(pack(value, adapter, "step 'a'"), adapter, "step 'a'")
    assert (type(back), back) == (type(value), value)


def test_a_model_changed_by_model_copy_comes_back_validated() -> None:
    adapter = TypeAdapter[Any](Priced)
    changed = Priced(price=Decimal(1)).model_copy(update={"price": "2.50"})
    assert unpack(pack(changed, adapter, "a"), adapter, "a") == Priced(price=Decimal("2.50"))


def test_a_model_that_model_copy_made_wrong_is_refused() -> None:
    changed = Priced(price=Decimal(1)).model_copy(update={"price": "much"})
    with pytest.raises(NotSerializableError, match="price"):
        pack(changed, TypeAdapter(Priced), "step 'a'")


REFUSED: dict[str, tuple[Any, Any, str]] = {
    "secret": (Secret, Secret(token=SecretStr("hunter2")), "get_secret_value"),
    "secret alone": (SecretStr, SecretStr("hunter2"), "get_secret_value"),
    "excluded": (Excluded, Excluded(name="a", cache="full"), "'cache' has a value and is left out"),
    "excluded and required": (ExcludedRequired, ExcludedRequired(name="a", cache="full"), "'cache' is required"),
    "subclass": (Animal, Dog(name="rex", breed="lab"), "a Dog where the type says Animal, so that 'breed' would be"),
    "subclass in a list": (Zoo, Zoo(animals=[Dog(name="rex", breed="lab")]), "'breed' would be lost"),
    "subclass in a dataclass": (Box, Box(Dog(name="rex", breed="lab")), "'breed' would be lost"),
    "union of equals": (Cat | Animal, Animal(name="rex"), "discriminator"),
    "the key None": (dict[str | None, int], {None: 1}, "the key None"),
    "bytes": (bytes, b"\xff", "base64"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_lost_is_refused_with_its_cause(name: str) -> None:
    annotation, value, words = REFUSED[name]
    with pytest.raises(NotSerializableError) as refused:
        pack(value, TypeAdapter(annotation), "step 'a'")
    assert str(refused.value).startswith("step 'a' returned")
    assert words in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_subclass_without_fields_of_its_own_comes_back_as_its_base() -> None:
    adapter = TypeAdapter[Any](Animal)
    assert unpack(pack(Quiet(name="owl"), adapter, "a"), adapter, "a") == Animal(name="owl")


def test_a_secret_in_plain_data_is_refused() -> None:
    with pytest.raises(NotSerializableError, match="get_secret_value"):
        pack({"tokens": [SecretStr("hunter2")]}, None, "step 'a'")


EVENTS = ["validation_alias", "two aliases and a default", "alias choices", "computed field", "Json", "strict"]


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_is_received_as_it_was_sent(name: str) -> None:
    model, value = SAME[name]
    event = Event("t/a", model)
    assert received_event(wire_event(event.create(value)), [event], "function 'f'").data == value


def test_a_strict_model_takes_the_data_of_an_event_as_python_or_as_json() -> None:
    event = Event("t/a", Strict)
    plain = STRICT.model_dump(mode="json")
    assert event.create(STRICT.model_dump()).data == event.create(plain).data == STRICT
    with pytest.raises(EventMismatchError, match="at: Input should be"):
        event.create({**plain, "at": "yesterday"})


@pytest.mark.parametrize("value", [Secret(token=SecretStr("hunter2")), Zoo(animals=[Dog(name="r", breed="l")])])
async def test_an_event_that_would_lose_data_is_refused(
    app: App, transport: RecordingTransport, value: BaseModel
) -> None:
    with pytest.raises(NotSerializableError, match="event 't/a' has data with"):
        await app.send(Event("t/a", type(value)).create(value))
    assert not transport.events


async def test_a_strict_model_starts_a_run(app: App) -> None:
    seen: list[object] = []

    @app.function(id="f", trigger=Event("t/a", Strict))
    async def f(ctx: Context[Strict]) -> None:
        seen.append(ctx.event.data)

    await FakeServer(app, "shop-f", data=STRICT.model_dump(mode="json")).call()
    assert seen == [STRICT]
