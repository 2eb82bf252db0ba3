"""A small mark of a step's arguments, kept with its result: it tells when a result would go to another use of the step.

Ids are numbered where a name is used more than once, so an item that is added in front of a loop shifts every result by
one. Only plain values count (text, numbers, lists, dicts). What has no form that is the same in every process says
nothing, so it cannot raise a false alarm.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final, cast

from .branches import MOST_USES

__all__ = ["Marks", "mark_of"]

_SIMPLE: Final = frozenset({str, int, float, bool, type(None)})
_MOST_VALUES: Final = 200
_UNKNOWN: Final = "?"


def mark_of(args: tuple[object, ...], kwargs: Mapping[str, object]) -> str:
    """Eight characters; empty if the arguments say nothing."""
    if not args and not kwargs:
        return ""
    left = [_MOST_VALUES]
    texts = [_text(value, left) for value in args]
    texts += [f"{name}={_text(kwargs[name], left)}" for name in sorted(kwargs)]
    if all(text.endswith(_UNKNOWN) for text in texts):
        return ""
    return f"{zlib.crc32(','.join(texts).encode('utf-8', 'surrogatepass')):08x}"


def _text(value: object, left: list[int]) -> str:
    kind = type(value)
    if kind in _SIMPLE:
        return repr(value)
    left[0] -= 1
    if left[0] < 0:
        return _UNKNOWN
    if kind is list or kind is tuple:
        return f"[{','.join([_text(each, left) for each in cast('list[object]', value)])}]"
    if kind is dict:
        pairs = cast("dict[object, object]", value).items()
        return f"{{{','.join([f'{_text(key, left)}:{_text(each, left)}' for key, each in pairs])}}}"
    return _UNKNOWN


class Marks:
    """Compares the marks of remembered steps with those of the calls that would get their results.

    Only of ids that are used more than once: where an id has one use, no result can go to another, and a changed
    argument is a change that may well be meant.
    """

    __slots__ = ("_firsts",)

    def __init__(self) -> None:
        self._firsts: dict[tuple[str, int], tuple[tuple[object, ...], Mapping[str, object], object]] = {}

    def find_other(
        self, name: str, use: int, args: tuple[object, ...], kwargs: Mapping[str, object], memo: Mapping[str, object]
    ) -> int:
        """Which use of an id, from 1, has other arguments than its result was recorded with; 0 if none is known."""
        nth, mark = use % MOST_USES, memo.get("mark")
        if nth == 0:
            self._firsts[name, use] = args, kwargs, mark
            return 0
        if nth == 1 and (first := self._firsts.get((name, use - 1))) is not None and _differs(*first):
            return 1
        return nth + 1 if _differs(args, kwargs, mark) else 0


def _differs(args: tuple[object, ...], kwargs: Mapping[str, object], mark: object) -> bool:
    return bool(mark) and mark_of(args, kwargs) not in {"", mark}
