"""The type that a callable returns, as its author wrote it, however the callable is wrapped.

Rules
- The annotation is that of the innermost function: a decorator's wrapper copies the text of the annotation, but its
  names mean something in the module of the function that wrote them, and something else, or nothing, elsewhere. A
  wrapper that declares another type than the function inside keeps its own.
- `Self` is the class that the method is bound to. What is awaited (`Awaitable`, `Coroutine`) is the type it gives.
- A type that can be iterated over only once is read back as a list.
"""

from __future__ import annotations

import collections.abc
import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import typing_extensions

__all__ = ["ABSENT", "UnresolvedAnnotation", "returned_type"]

_FIXED: Final = cast("tuple[object, ...]", (typing.Literal, collections.abc.Callable))
_UNIONS: Final = cast("tuple[object, ...]", (typing.Union, types.UnionType))
_MOST_WRAPPERS: Final = 100
_SELF: Final = cast("tuple[object, ...]", (cast("Any", typing).Self, cast("Any", typing_extensions).Self))
_AWAITED: Final = (collections.abc.Awaitable, collections.abc.Coroutine)
_LISTED: Final = frozenset({
    collections.abc.Iterable,
    collections.abc.Iterator,
    collections.abc.Generator,
    collections.abc.Collection,
    collections.abc.Reversible,
    collections.abc.Container,
})  # fmt: skip


class _Absent:
    pass


ABSENT: Final = _Absent()
"""The callable has no return annotation."""


class UnresolvedAnnotation:
    """A return annotation that cannot be used. `problem` says why and what to do, to follow "whose …"."""

    def __init__(self, text: str, problem: str) -> None:
        self.text = text
        self.problem = problem

    @property
    def warning(self) -> str:
        """What is wrong with it, to follow the name of the step or function."""
        return f"has the return annotation {self.text!r}, {self.problem}"


_NO_NAMES: Final = (
    "whose names cannot be resolved at run time, so its value is returned as plain JSON. Import the type at module "
    "level, not only under TYPE_CHECKING."
)
_NO_OWNER: Final = (
    "but the function is not bound to an object or a class, so its value is returned as plain JSON. Pass the method "
    "of an object (order.load) or of a class (a classmethod), or name the class instead of Self."
)


def returned_type(fn: Callable[..., object]) -> object:
    """The return annotation of a callable; if calling it gives an awaitable, the type that awaiting it gives.

    ABSENT without one; an UnresolvedAnnotation if it cannot be resolved.
    """
    if isinstance(fn, types.FunctionType) and "__wrapped__" not in fn.__dict__:
        target, owner = cast("object", fn), None  # the most frequent case: a replay comes here for each step
    else:
        target, owner = _innermost(fn)
    if isinstance(target, type):
        return cast("object", target)
    try:
        annotation = _own_annotation(target)
    except NameError as error:
        # Python 3.14 and later evaluate annotations on first access.
        return UnresolvedAnnotation(str(error), _NO_NAMES)
    if annotation is ABSENT or type(annotation) is type:
        return annotation
    if isinstance(annotation, str) or _has_names(annotation):
        annotation = _resolve_names(target, annotation)
    if isinstance(annotation, UnresolvedAnnotation):
        return annotation
    try:
        return _plainer(annotation, owner) if owner is not None else _plainer_once(annotation)
    except _NoOwnerError:
        return UnresolvedAnnotation(_text_of(annotation), _NO_OWNER)


def _own_annotation(target: object) -> object:
    found = cast("object", getattr(target, "__annotations__", None))
    if type(found) is dict:
        return cast("dict[str, object]", found).get("return", ABSENT)  # the most frequent case, ten times as fast
    return cast("Mapping[str, object]", found).get("return", ABSENT) if isinstance(found, Mapping) else ABSENT


def _innermost(fn: object) -> tuple[object, type | None]:
    """The function or class inside partials, decorators and bound methods; and the class that `Self` means there."""
    owner: type | None = None
    for _ in range(_MOST_WRAPPERS):
        if isinstance(fn, functools.partial):
            fn = cast("object", fn.func)
        elif isinstance(fn, type):
            break
        elif isinstance(fn, types.MethodType):
            bound = fn.__self__
            owner = bound if isinstance(bound, type) else type(bound)
            fn = fn.__func__
        elif (inner := _wrapped(fn)) is not None:
            fn = inner
        elif hasattr(fn, "__code__"):
            break
        elif isinstance(call := _call_of(fn), types.FunctionType):
            # An object with __call__.
            owner = type(fn)
            fn = call
        else:
            break  # a builtin, which has no annotations
    return fn, owner


def _call_of(fn: object) -> object:
    """The `__call__` of an object's class, as it stands there."""
    return next((vars(kind)["__call__"] for kind in type(fn).__mro__ if "__call__" in vars(kind)), None)


def _wrapped(fn: object) -> object:
    """What a decorator wraps; None if it is no wrapper, or declares another type than what it wraps."""
    try:
        inner = cast("object", vars(fn).get("__wrapped__"))
    except TypeError:
        inner = cast("object", getattr(fn, "__wrapped__", None))  # it has slots, or is written in C
    if inner is None or not callable(inner):
        return None
    if isinstance(fn, types.FunctionType):
        try:
            declared, inside = _own_annotation(fn), _own_annotation(_innermost(inner)[0])
        except NameError:
            return inner
        if declared is not ABSENT and not _same(declared, inside):
            return None
    return inner


def _same(one: object, other: object) -> bool:
    return one is other or bool(one == other)


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
        return UnresolvedAnnotation(_text_of(annotation), _NO_NAMES)
    if code is not None and not code.co_freevars:
        # The same code in the same module means the same types, unless it uses variables of an enclosing scope.
        if len(_RESOLVED) >= _MOST_RESOLVED:
            _RESOLVED.clear()
        _RESOLVED[id(code)] = code, names, hints["return"]
    return hints["return"]


def _text_of(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else str(annotation)


class _NoOwnerError(Exception):
    """`Self` where no class is known."""


def _plainer_once(annotation: object) -> object:
    """`_plainer` without an owner, remembered: a replay comes here for each step."""
    try:
        return _plainer_known(annotation)
    except TypeError:
        return _plainer(annotation, None)  # Annotated[…] with metadata that has no hash


@functools.lru_cache(maxsize=512)
def _plainer_known(annotation: object) -> object:
    return _plainer(annotation, None)


def _plainer(annotation: object, owner: type | None) -> object:
    """The annotation with `Self` replaced, awaitables peeled off and one-time iterables as lists."""
    if annotation in _SELF:
        if owner is None:
            raise _NoOwnerError
        return owner
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is None:
        # Not hashed before it is known to be a class: Annotated[…] may hold what has no hash.
        return list if isinstance(annotation, type) and annotation in _LISTED else annotation
    if origin in _AWAITED and arguments:
        return _plainer(arguments[-1], owner)
    if origin in _LISTED:
        return cast("Any", list)[_plainer(arguments[0], owner)] if arguments else list
    if origin in _FIXED:
        return annotation
    return _rebuilt(annotation, origin, arguments, owner)


def _rebuilt(annotation: object, origin: object, arguments: tuple[object, ...], owner: type | None) -> object:
    """A generic annotation with its arguments made plainer; itself if they stay as they are."""
    if origin is typing.Annotated:
        inner = _plainer(arguments[0], owner)
        return annotation if inner is arguments[0] else cast("Any", typing.Annotated)[(inner, *arguments[1:])]
    changed = tuple(_plainer(argument, owner) for argument in arguments)
    if all(new is old for new, old in zip(changed, arguments, strict=True)):
        return annotation
    if origin in _UNIONS:
        return cast("object", cast("Any", typing.Union)[changed])
    try:
        return cast("object", cast("Any", origin)[changed])
    except TypeError:
        return annotation
