"""Bodies of steps that note that they ran, in a list that is no part of the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def noting(ran: list[Any], entry: object, result: T) -> Callable[[], T]:
    """A body that appends an entry each time it runs, and returns the result."""

    def body() -> Any:
        ran.append(entry)
        return result

    return body
