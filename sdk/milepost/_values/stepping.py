"""Runs a coroutine in code without an event loop: sync code shares what is written once, as a coroutine."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar, cast

__all__ = ["step_through"]

T = TypeVar("T")


def step_through(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        work.send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    work.close()
    raise RuntimeError("a sync function's invocation tried to suspend")
