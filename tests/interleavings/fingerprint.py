"""A number for what a worker has in memory, equal for equal content: part of what tells two states apart.

It is taken over the fields of dataclasses, whatever they are, so that it holds for records of the orchestrator that do
not exist yet. A kind of object that it does not know raises TypeError: leaving it out could make two states look equal
that differ.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from enum import Enum
from operator import attrgetter
from typing import Any, Final

from milepost_engine.core.view import View

__all__ = ["Fingerprints"]

_PLAIN: Final = (str, int, float, bytes, bool, datetime, timedelta, Enum, type(None))


class Fingerprints:
    """Takes fingerprints. What never changes is computed once: frozen records, and views."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, int]] = {}

    def of(self, thing: object) -> int:
        """The fingerprint of an object and everything in it."""
        kind = type(thing)
        reader = _READERS.get(kind)
        if reader is None:
            reader = _READERS[kind] = _reader_of(kind)
        if kind not in _CONSTANT:
            return reader(self, thing)
        found = self._known.get(id(thing))
        if found is None:
            # The object is kept, so that its id is not given to another one.
            found = self._known[id(thing)] = thing, reader(self, thing)
        return found[1]


Reader = Callable[[Fingerprints, Any], int]

_READERS: Final[dict[type, Reader]] = {}
_CONSTANT: Final[set[type]] = set()


def _reader_of(kind: type) -> Reader:
    """How the fingerprint of a kind of object is taken."""
    if issubclass(kind, _PLAIN):
        return lambda _, thing: hash(thing)
    if issubclass(kind, View):
        _CONSTANT.add(kind)
        # All else in a view follows from these.
        return _reader_of_fields(kind, ("kept", "closed", "plans", "failures", "order"))
    if dataclasses.is_dataclass(kind):
        if kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            _CONSTANT.add(kind)
        return _reader_of_fields(kind, tuple(each.name for each in dataclasses.fields(kind)))
    if issubclass(kind, Mapping):
        return lambda prints, thing: hash(tuple((prints.of(key), prints.of(value)) for key, value in thing.items()))
    if issubclass(kind, AbstractSet):
        return lambda prints, thing: hash(frozenset(map(prints.of, thing)))
    if issubclass(kind, list | tuple | deque):
        return lambda prints, thing: hash(tuple(map(prints.of, thing)))
    raise TypeError(
        f"the explorer has no fingerprint of {kind.__module__}.{kind.__qualname__}: "
        "say in tests/interleavings/fingerprint.py what of it may change what a worker does"
    )


def _reader_of_fields(kind: type, names: tuple[str, ...]) -> Reader:
    values = attrgetter(*names) if len(names) > 1 else lambda thing: tuple(getattr(thing, name) for name in names)
    return lambda prints, thing: hash((kind.__name__, *map(prints.of, values(thing))))
