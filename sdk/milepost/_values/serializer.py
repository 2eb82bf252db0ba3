"""Round-trips values through JSON, so that the first run and every replay see the same value.

Rules
- A value is written as JSON and read back before the caller sees it, in the first run too.
- If the callable's return annotation names a type beyond JSON's own (a model, a dataclass, a datetime …), the value
  is read back as that type every time. Without an annotation the plain JSON value is returned.
- A model is written in the first form that its own type reads back as the same JSON: by alias, else by field name.
  Reading accepts both. What would be lost all the same (fields of a subclass, excluded fields, secrets) is refused.
- Whatever a serializer or a validator raises, of any type, is final: the body has run, and would only run again.
- NaN and infinities are refused: JSON cannot represent them, and other readers would see null.
"""

from __future__ import annotations

import functools
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any, Final, cast

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic_core import PydanticSerializationError, from_json, to_json
from typing_extensions import TypedDict, is_typeddict

from milepost.errors import NotSerializableError, PayloadTooLargeError
from milepost.protocol import MAX_NESTING, MAX_STEP_OUTPUT_BYTES, nests_deeper

from .annotations import ABSENT, UnresolvedAnnotation, returned_type
from .losses import MASK, excluded_fields, find_loss, find_secret

__all__ = [
    "Adapter",
    "UnresolvedAnnotation",
    "adapter_for",
    "dropped",
    "pack",
    "plain_json",
    "returned_type",
    "revive",
    "round_trip",
    "validate_plain",
]

_PLAIN: Final = frozenset({
    str, int, float, bool, None, types.NoneType, object, Any, dict, list, typing.NoReturn, typing.Never
})  # fmt: skip
_ORIGINS: Final = frozenset({list, dict, typing.Union, types.UnionType})

Adapter = TypeAdapter[Any]
"""A pydantic adapter for a type that is known only at run time."""


def pack(value: object, adapter: Adapter | None, what: str) -> bytes:
    """Write a value as JSON. `what` names the step or function in errors.

    Raises NotSerializableError for a value that JSON cannot represent, that its type cannot read back or that is nested
    too deeply, whatever its own serializers raise, and PayloadTooLargeError over 4 MiB. Neither is retried.
    """
    return round_trip(value, adapter, what)[0]


def round_trip(value: object, adapter: Adapter | None, what: str) -> tuple[bytes, object]:
    """A value as JSON, and as it will be read back in every replay. Raises as `pack` does.

    An iterator is exhausted: its items are the value. What it raises is an error of the body, and raised as it is.
    """
    if isinstance(value, Iterator):
        value = list(cast("Iterator[object]", value))
    if adapter is None:
        data = _written(value, what)
        _check(data, value, what)
        return data, from_json(data)
    data, back = _typed_round_trip(value, adapter, what)
    _refuse_loss(value, back, f"{what} returned")
    return data, back


def _refuse_loss(value: object, back: object, what: str) -> None:
    loss = find_loss(value, back)
    if loss is not None:
        raise NotSerializableError(f"{what} {loss}")


def _written(value: object, what: str) -> bytes:
    try:
        return to_json(value)
    except Exception as error:  # noqa: BLE001 - serializers are user code and raise anything
        raise _unwritable(value, error, what) from None


def _unwritable(value: object, error: Exception, what: str) -> NotSerializableError:
    advice = "Return plain data, a dataclass or a pydantic model, or leave the object out of the result."
    if "utf-8" in str(error) and isinstance(error, PydanticSerializationError):
        advice = (
            "Bytes are written as text: encode others, with base64.b64encode(value).decode() or a field of type "
            "pydantic.Base64Bytes."
        )
    return NotSerializableError(
        f"{what} returned a {_type_name(value)} that JSON cannot represent: {_reason(error)}. {advice}"
    )


def _typed_round_trip(value: object, adapter: Adapter, what: str) -> tuple[bytes, object]:
    """The first form of the value that its type reads back as the same JSON; if none does, the first that it reads."""
    data = _dumped(value, adapter, what, by_alias=True)
    _check(data, value, what)
    try:
        back = _read(data, adapter)
        if _dumps_as(back, adapter, data, by_alias=True):
            return data, back
        first: tuple[bytes, object] | Exception = data, back
    except Exception as error:  # noqa: BLE001 - validators are user code and raise anything
        first = error
    try:
        # A field may be read by one alias and written by another; its name is always read.
        data = _dumped(value, adapter, what, by_alias=False)
        back = _read(data, adapter)
        if isinstance(first, Exception) or _dumps_as(back, adapter, data, by_alias=False):
            _check(data, value, what)
            return data, back
    except Exception:  # noqa: BLE001, S110 - the problem of the first form is the one to report
        pass
    if isinstance(first, Exception):
        raise _unreadable(value, first, what) from None
    return first


def _dumped(value: object, adapter: Adapter, what: str, *, by_alias: bool) -> bytes:
    try:
        return adapter.dump_json(value, by_alias=by_alias, round_trip=True, warnings="error")
    except Exception as error:  # noqa: BLE001 - serializers are user code and raise anything
        # A model may hold what it never validated (model_copy(update=…), model_construct). If its type reads that as
        # the same JSON, nothing is lost.
        if isinstance(error, PydanticSerializationError):
            try:
                data = adapter.dump_json(value, by_alias=by_alias, round_trip=True, warnings=False)
                if _dumps_as(_read(data, adapter), adapter, data, by_alias=by_alias):
                    return data
            except Exception:  # noqa: BLE001, S110 - the first error says what is wrong
                pass
        raise _unwritable(value, error, what) from None


def _read(data: bytes, adapter: Adapter) -> object:
    return cast("object", adapter.validate_json(data, by_alias=True, by_name=True))


def _dumps_as(back: object, adapter: Adapter, data: bytes, *, by_alias: bool) -> bool:
    """Whether a value that was read is written as the JSON that it was read from."""
    try:
        again = adapter.dump_json(back, by_alias=by_alias, round_trip=True, warnings=False)
    except Exception:  # noqa: BLE001 - serializers are user code and raise anything
        return False
    return again == data or from_json(again) == from_json(data)


def _unreadable(value: object, error: Exception, what: str) -> NotSerializableError:
    """The error for a value that was written but cannot be read back; its text fits the cause."""
    if not isinstance(error, ValidationError):
        return NotSerializableError(
            f"{what} returned a value that cannot be read back from JSON as its return annotation says: "
            f"{_reason(error)}. Correct the type or its validators."
        )
    missing = {str(item["loc"][-1]) for item in error.errors(include_url=False) if item["type"] == "missing"}
    excluded = sorted(missing & excluded_fields(value))
    if excluded:
        names = ", ".join(map(repr, excluded))
        return NotSerializableError(
            f"{what} returned a {_type_name(value)} that cannot be read back from JSON: {names} is required and left "
            "out of its JSON (exclude=True). Give the field a default, or remove exclude=True."
        )
    return NotSerializableError(
        f"{what} returned a value that does not match its return annotation after a round trip through JSON: "
        f"{error}. Correct the annotation or the value, or give the type serializers and validators that fit."
    )


def _check(data: bytes, value: object, what: str) -> None:
    """Refuse what is too large or too deep, NaN, infinities and masked secrets."""
    if len(data) > MAX_STEP_OUTPUT_BYTES:
        raise PayloadTooLargeError(
            f"{what} returned {len(data)} bytes of JSON; at most {MAX_STEP_OUTPUT_BYTES} are allowed. "
            "Store the content (in S3, for example) and return a reference to it."
        )
    _refuse_nan(data, what)
    if nests_deeper(data):
        raise NotSerializableError(
            f"{what} returned a {_type_name(value)} nested more than {MAX_NESTING} levels deep, which some JSON "
            "readers refuse. Return a flatter value, or a string."
        )
    _refuse_secrets(data, value, f"{what} returned")


def _refuse_secrets(data: bytes, value: object, what: str) -> None:
    # Only a text that contains the mask, perhaps in a string, is searched for secrets.
    if MASK in data and (kind := find_secret(value)) is not None:
        raise NotSerializableError(
            f"{what} a {kind}, which is written as asterisks, so that the secret would be lost. If it may be stored "
            "with the run, pass secret.get_secret_value(); otherwise leave it out and read it where it is used."
        )


def _refuse_nan(data: bytes, what: str) -> None:
    # Searching the bytes is cheap; only a text that contains one of the words, perhaps in a string, is parsed.
    if b"NaN" not in data and b"Infinity" not in data:
        return
    try:
        from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise NotSerializableError(
            f"{what} returned a value with NaN or an infinity, which JSON cannot represent ({error}). "
            "Return None or a string instead."
        ) from None


def unpack(data: bytes, adapter: Adapter | None, what: str) -> object:
    """Read back what `pack` wrote, as the annotated type if there is one.

    Raises NotSerializableError if that fails, whatever validators raise.
    """
    try:
        return cast("object", from_json(data)) if adapter is None else _read(data, adapter)
    except Exception as error:  # noqa: BLE001 - validators are user code and raise anything
        raise _unreadable(None, error, what) from None


def validate_plain(plain: object, adapter: Adapter) -> object:
    """Plain JSON as the adapter's type. Raises ValidationError, or what validators raise.

    It is validated as JSON: a strict model takes a datetime from a JSON string, but not from a Python string.
    """
    return _read(to_json(plain), adapter)


def _reason(error: Exception) -> str:
    """What went wrong; errors of other kinds than pydantic's say too little without their class."""
    known = isinstance(error, PydanticSerializationError | PydanticUserError)
    return str(error) if known else f"{type(error).__name__}: {error}"


def plain_json(value: object, what: str, around: int = 0) -> object:
    """A value as plain JSON: dicts, lists, strings, numbers. Raises NotSerializableError.

    `what` names its owner in errors; `around` is the number of levels that enclose the data in `value`.
    """
    try:
        data = _written_model(value, what) if isinstance(value, BaseModel) else to_json(value, round_trip=True)
        _refuse_secrets(data, value, f"{what} has data with")
        if nests_deeper(data, MAX_NESTING + around):
            raise NotSerializableError(
                f"{what} has data nested more than {MAX_NESTING} levels deep, which some JSON readers refuse. "
                "Pass flatter data, or a string."
            )
        return cast("object", from_json(data, allow_inf_nan=False))
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise NotSerializableError(
            f"{what} has data that JSON cannot represent: {error}. Pass plain data, a dataclass or a pydantic model, "
            "without NaN, infinities or other objects."
        ) from None


def _written_model(value: BaseModel, what: str) -> bytes:
    """A model in a form that its class can read back; if there is none, by alias, for readers of another kind."""
    adapter = adapter_for(type(value))
    if adapter is None:
        return to_json(value, round_trip=True)
    try:
        data, back = _typed_round_trip(value, adapter, what)
    except NotSerializableError:
        return to_json(value, round_trip=True)
    _refuse_loss(value, back, f"{what} has data with")
    return data


def revive(plain: object, adapter: Adapter, what: str) -> object:
    """Read a remembered JSON value as the annotated type. Raises NotSerializableError if it does not match."""
    try:
        return _read(to_json(plain), adapter)
    except Exception as error:  # noqa: BLE001 - validators are user code and raise anything
        reason = str(error) if isinstance(error, ValidationError) else _reason(error)
        raise NotSerializableError(
            f"{what} has a recorded result that its return annotation does not accept: {reason}. If the type has "
            "changed since, let it read old results too (give new fields a default), or give the changed step another "
            "id; then replay the run. The step itself did succeed and does not run again."
        ) from None


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def adapter_for(annotation: object) -> Adapter | None:
    """The adapter for an annotation; None if plain JSON already has that type, or pydantic does not support it."""
    if annotation is ABSENT or isinstance(annotation, UnresolvedAnnotation) or _is_plain(annotation):
        return None
    try:
        return _adapter(annotation)
    except TypeError:
        # Annotated[...] with unhashable metadata.
        return _make_adapter(annotation)


@functools.lru_cache(maxsize=512)
def _adapter(annotation: object) -> Adapter | None:
    return _make_adapter(annotation)


def _make_adapter(annotation: object) -> Adapter | None:
    try:
        return TypeAdapter(cast("type[Any]", _known_to_pydantic(annotation)))
    except (PydanticSchemaGenerationError, PydanticUserError):
        return None


def dropped(annotation: object) -> str | None:
    """Why values do not come back as an annotation says, to follow the name of their step; None if they do."""
    if isinstance(annotation, UnresolvedAnnotation):
        return annotation.warning
    if annotation is ABSENT or _is_plain(annotation) or adapter_for(annotation) is not None:
        return None
    return (
        f"has the return annotation {annotation!r}, which pydantic cannot read back from JSON, so its value is "
        "returned as plain JSON. Return a pydantic model, a dataclass, a TypedDict or plain data, or annotate the "
        "function with what it returns as JSON."
    )


def _known_to_pydantic(annotation: object) -> object:
    """The annotation with each `typing.TypedDict` as that of typing_extensions: before 3.12 pydantic needs it."""
    if sys.version_info >= (3, 12):
        return annotation
    if is_typeddict(annotation) and type(annotation).__module__ == "typing":
        kind = cast("Any", annotation)
        hints = typing.get_type_hints(kind, include_extras=True)
        required = cast("frozenset[str]", kind.__required_keys__)
        fields = {
            name: _known_to_pydantic(hint)
            if typing.get_origin(hint) in (typing.Required, typing.NotRequired)
            else (typing.Required if name in required else typing.NotRequired)[cast("Any", _known_to_pydantic(hint))]
            for name, hint in hints.items()
        }
        return TypedDict(kind.__name__, fields)  # type: ignore[operator]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (list, dict, tuple, set, frozenset):
        return cast("object", cast("Any", origin)[tuple(_known_to_pydantic(each) for each in arguments)])
    if origin in cast("tuple[object, ...]", (typing.Union, types.UnionType)):
        return cast("object", typing.Union[tuple(_known_to_pydantic(each) for each in arguments)])  # noqa: UP007
    return annotation


def _is_plain(annotation: object) -> bool:
    """Whether a type reads back from JSON as itself."""
    try:
        if annotation in _PLAIN:
            return True
    except TypeError:
        return False
    if typing.get_origin(annotation) not in _ORIGINS:
        return isinstance(annotation, typing.TypeVar)
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is dict and arguments and arguments[0] is not str:
        return False
    return all(_is_plain(argument) for argument in arguments)
