"""Runs a coroutine without an event loop, so that sync and async code share one implementation."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from typing import TypeVar, cast

__all__ = ["as_coroutine", "step_through"]

T = TypeVar("T")


def step_through(work: Coroutine[object, None, T]) -> T:
    """Run a coroutine that never suspends. Raises RuntimeError if it does."""
    try:
        work.send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    work.close()
    raise RuntimeError("a sync function's invocation tried to suspend")


async def as_coroutine(awaitable: Awaitable[T]) -> T:
    """Any awaitable as a coroutine."""
    return await awaitable
