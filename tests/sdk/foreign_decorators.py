"""Decorators of another module, with a class that has the name of one where they are used."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel


class Invoice(BaseModel):
    """Reads anything as itself, without its data."""

    took_ms: int = 0


def timed(fn: Callable[..., Any]) -> Any:
    @functools.wraps(fn)
    def wrapper(*args: object, **kwargs: object) -> object:
        return fn(*args, **kwargs)

    return wrapper


def timed_async(fn: Callable[..., Awaitable[object]]) -> Any:
    @functools.wraps(fn)
    async def wrapper(*args: object, **kwargs: object) -> object:
        return await fn(*args, **kwargs)

    return wrapper


class Counted:
    """A decorator that is an object."""

    def __init__(self, fn: Callable[..., object]) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.calls = 0

    def __call__(self, *args: object, **kwargs: object) -> object:
        self.calls += 1
        return self.fn(*args, **kwargs)
