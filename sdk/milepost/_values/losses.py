"""Finds what a round trip through JSON would lose without an error: fields of subclasses, excluded fields, secrets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Final, cast

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.types import Secret

__all__ = ["MASK", "excluded_fields", "find_loss", "find_secret"]

MASK: Final = b"**********"
"""How pydantic writes a secret."""

_LEAVES: Final = frozenset({str, int, float, bool, bytes, type(None)})
_MOST_LEVELS: Final = 200


def find_loss(value: object, back: object, levels: int = 0) -> str | None:
    """What `value` has and the value that was read back has not, in words that follow "returned"; None if nothing.

    Only models and dataclasses are compared, wherever they are in lists, dicts and other models.
    """
    kind = type(value)
    if kind in _LEAVES or levels > _MOST_LEVELS:
        return None
    fields = _fields(value)
    if fields is not None:
        back_fields = _fields(back)
        return None if back_fields is None else _lost_of(value, back, fields, back_fields, levels)
    pairs: Iterable[tuple[object, object]] = ()
    if isinstance(value, Mapping):
        if isinstance(back, Mapping):
            known = cast("Mapping[object, object]", back)
            items = cast("Mapping[object, object]", value).items()
            if None in cast("Mapping[object, object]", value) and None not in known:
                return "a dict with the key None, which JSON turns into a text. Use a string as the key."
            pairs = [(each, known[key]) for key, each in items if key in known]
    elif isinstance(value, list | tuple) and isinstance(back, list | tuple):
        pairs = zip(cast("list[object]", value), cast("list[object]", back), strict=False)
    for each, other in pairs:
        if (loss := find_loss(each, other, levels + 1)) is not None:
            return loss
    return None


def _lost_of(
    value: object, back: object, fields: Mapping[str, object], back_fields: Mapping[str, object], levels: int
) -> str | None:
    """What is lost of a model or dataclass."""
    kind, other = type(value), type(back)
    if kind is not other and not issubclass(other, kind):
        lost = sorted(fields.keys() - back_fields.keys())
        if issubclass(kind, other) and lost:
            names = ", ".join(map(repr, lost))
            return (
                f"a {kind.__name__} where the type says {other.__name__}, so that {names} would be lost. "
                f"Name {kind.__name__} in the annotation, or a union of the classes that may occur."
            )
        if not issubclass(kind, other) and not _same_generic(kind, other):
            return (
                f"a {kind.__name__} that is read back from JSON as {other.__name__}, because both fit. Give the union "
                'a discriminator: a field such as kind: Literal["a"] in each class.'
            )
    for name in excluded_fields(value):
        if name in fields and name in back_fields and not _equal(fields[name], back_fields[name]):
            return (
                f"a {kind.__name__} whose field {name!r} has a value and is left out of its JSON (exclude=True), so "
                "that the value would be lost. Remove exclude=True, or leave the field at its default."
            )
    for name, each in fields.items():
        if name in back_fields and (loss := find_loss(each, back_fields[name], levels + 1)) is not None:
            return loss
    return None


def _same_generic(kind: type, other: type) -> bool:
    """Whether two models are the same generic class, with different parameters or without."""
    return _generic(kind) is _generic(other)


def _generic(kind: type[object]) -> object:
    if not issubclass(kind, BaseModel):
        return kind
    return cast("object", kind.__pydantic_generic_metadata__["origin"] or kind)


def _equal(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001 - user classes may do anything
        return True


def _fields(value: object) -> Mapping[str, object] | None:
    """The fields of a model or dataclass and their values; None for other values."""
    if isinstance(value, BaseModel):
        return {name: each for name, each in vars(value).items() if name in type(value).model_fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    return None


def excluded_fields(value: object) -> frozenset[str]:
    """The fields of a model that its JSON leaves out (`exclude=True`)."""
    if not isinstance(value, BaseModel):
        return frozenset()
    return frozenset(name for name, field in type(value).model_fields.items() if field.exclude)


def find_secret(value: object, levels: int = 0) -> str | None:
    """The class of the first secret in a value, in whatever holds it; None if there is none."""
    if isinstance(value, SecretStr | SecretBytes | Secret):
        return type(cast("object", value)).__name__
    if type(value) in _LEAVES or levels > _MOST_LEVELS:
        return None
    inner: Iterable[object] = ()
    if (fields := _fields(value)) is not None:
        inner = fields.values()
    elif isinstance(value, Mapping):
        inner = cast("Mapping[object, object]", value).values()
    elif isinstance(value, list | tuple | set | frozenset):
        inner = cast("list[object]", value)
    return next((kind for each in inner if (kind := find_secret(each, levels + 1)) is not None), None)
