"""Round-trips values through JSON, so that the first run and every replay see the same value.

Rules
- A value is written as JSON and read back before the caller sees it, in the first run too.
- If the callable's return annotation names a type beyond JSON's own (a model, a dataclass, a datetime …), the value
  is read back as that type every time. Without an annotation the plain JSON value is returned.
- Whatever a serializer or a validator raises, of any type, is final: the body has run, and would only run again.
- NaN and infinities are refused: JSON cannot represent them, and other readers would see null.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable
from typing import Any, Final, cast

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic_core import PydanticSerializationError, from_json, to_json

from milepost.errors import NotSerializableError, PayloadTooLargeError
from milepost.protocol import MAX_NESTING, MAX_STEP_OUTPUT_BYTES, nests_deeper

__all__ = ["Adapter", "UnresolvedAnnotation", "adapter_for", "pack", "plain_json", "returned_type", "revive", "unpack"]

_PLAIN: Final = frozenset({str, int, float, bool, None, types.NoneType, object, Any, dict, list})
_ORIGINS: Final = frozenset({list, dict, typing.Union, types.UnionType})

Adapter = TypeAdapter[Any]
"""A pydantic adapter for a type that is known only at run time."""


class UnresolvedAnnotation:
    """A return annotation whose names cannot be resolved at run time. `text` is the annotation as written."""

    def __init__(self, text: str) -> None:
        self.text = text


def pack(value: object, adapter: Adapter | None, what: str) -> bytes:
    """Write a value as JSON. `what` names the step or function in errors.

    Raises NotSerializableError for a value that JSON cannot represent or that is nested too deeply, whatever its own
    serializers raise, and PayloadTooLargeError over 4 MiB. Neither is retried.
    """
    try:
        data = to_json(value) if adapter is None else adapter.dump_json(value, by_alias=True, warnings="error")
    except Exception as error:  # noqa: BLE001 - serializers are user code and raise anything
        raise NotSerializableError(
            f"{what} returned a {_type_name(value)} that JSON cannot represent: {_reason(error)}. Return plain data, a "
            "dataclass or a pydantic model, or leave the object out of the result."
        ) from None
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
    return data


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
        return cast("object", from_json(data) if adapter is None else adapter.validate_json(data))
    except ValidationError as error:
        raise NotSerializableError(
            f"{what} returned a value that does not match its return annotation after a round trip through JSON: "
            f"{error}. Correct the annotation or the value."
        ) from None
    except Exception as error:  # noqa: BLE001 - validators are user code and raise anything
        raise NotSerializableError(
            f"{what} returned a value that cannot be read back from JSON as its return annotation says: "
            f"{_reason(error)}. Correct the type or its validators."
        ) from None


def _reason(error: Exception) -> str:
    """What went wrong; errors of other kinds than pydantic's say too little without their class."""
    known = isinstance(error, PydanticSerializationError | PydanticUserError)
    return str(error) if known else f"{type(error).__name__}: {error}"


def plain_json(value: object, what: str, around: int = 0) -> object:
    """A value as plain JSON: dicts, lists, strings, numbers. Raises NotSerializableError.

    `what` names its owner in errors; `around` is the number of levels that enclose the data in `value`.
    """
    try:
        data = to_json(value)
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


def revive(plain: object, adapter: Adapter, what: str) -> object:
    """Read a remembered JSON value as the annotated type. Raises NotSerializableError if it does not match."""
    try:
        return cast("object", adapter.validate_json(to_json(plain)))
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
    if annotation is _ABSENT or isinstance(annotation, UnresolvedAnnotation) or _is_plain(annotation):
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
        return TypeAdapter(cast("type[Any]", annotation))
    except (PydanticSchemaGenerationError, PydanticUserError):
        return None


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


class _Absent:
    pass


_ABSENT: Final = _Absent()


def returned_type(fn: Callable[..., object]) -> object:
    """The return annotation of a callable; for a coroutine function, the type that awaiting it gives."""
    target: object = fn if isinstance(fn, types.FunctionType) else _annotated(fn)
    if isinstance(target, type):
        return cast("object", target)
    try:
        annotation = getattr(target, "__annotations__", {}).get("return", _ABSENT)
    except NameError as error:
        # Python 3.14 and later evaluate annotations on first access.
        return UnresolvedAnnotation(str(error))
    if annotation is not _ABSENT and (isinstance(annotation, str) or _has_names(annotation)):
        return _resolve_names(target, annotation)
    return annotation


def _annotated(fn: Callable[..., object]) -> object:
    """The object that holds the annotations of a callable."""
    while isinstance(fn, functools.partial):
        fn = cast("Callable[..., object]", fn.func)
    target: object = fn if isinstance(fn, type) or hasattr(fn, "__code__") else getattr(fn, "__func__", None)
    if target is None:
        # An object with __call__, or a builtin, which has no annotations.
        return getattr(type(fn).__call__, "__func__", type(fn).__call__)
    return target


def _has_names(annotation: object) -> bool:
    return any(isinstance(part, str | typing.ForwardRef) or _has_names(part) for part in typing.get_args(annotation))


_MOST_RESOLVED: Final = 1024
_RESOLVED: Final[dict[int, tuple[object, object, object]]] = {}
"""Code, module and type by the code's id: a replay needs them for each step, and evaluating a string takes 30 µs."""


def _resolve_names(target: object, annotation: object) -> object:
    """Resolve the names of an annotation in the callable's module and in the scope that defines it."""
    code = getattr(target, "__code__", None)
    names = getattr(target, "__globals__", {})
    known = _RESOLVED.get(id(code))
    if known is not None and known[0] is code and known[1] is names:
        return known[2]
    cells = getattr(target, "__closure__", None) or ()
    scope: dict[str, object] = {}
    for name, cell in zip(code.co_freevars if code else (), cells, strict=False):
        try:
            scope[name] = cell.cell_contents
        except ValueError:
            continue
    holder = types.SimpleNamespace(__annotations__={"return": annotation})
    try:
        hints = typing.get_type_hints(holder, globalns=names, localns=scope, include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError):
        return UnresolvedAnnotation(str(annotation))
    if code is not None and not code.co_freevars:
        # The same code in the same module means the same types, unless it uses variables of an enclosing scope.
        if len(_RESOLVED) >= _MOST_RESOLVED:
            _RESOLVED.clear()
        _RESOLVED[id(code)] = code, names, hints["return"]
    return hints["return"]
