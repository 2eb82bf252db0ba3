"""Simulated crashes at any chosen I/O operation, before or after it takes effect."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


class Crashed(BaseException):
    """The simulated process died. A BaseException, so that no `except Exception` of the engine catches it."""


class Deaths:
    """Counts I/O operations and crashes at the chosen point: 2n is before operation n, 2n + 1 after it."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.count = 0
        self.dead = False
        self.where = ""

    def shell(self, port: object) -> Any:
        return _Shell(port, self)

    async def around(self, name: str, call: Callable[[], Any]) -> Any:
        if self.dead:
            raise Crashed(self.where)
        here, self.count = self.count, self.count + 1
        if self.at == 2 * here:
            self._die(f"before {name} (operation {here})")
        result = await call()
        if self.at == 2 * here + 1:
            self._die(f"after {name} (operation {here})")
        if self.dead:
            # Another coroutine of the same process crashed while this one waited.
            raise Crashed(self.where)
        return result

    def _die(self, where: str) -> None:
        self.dead, self.where = True, where
        raise Crashed(where)


class _Shell:
    """Wraps a port so that each call may crash."""

    def __init__(self, port: object, deaths: Deaths) -> None:
        self._port = port
        self._deaths = deaths

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        if not inspect.iscoroutinefunction(value):
            return value

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._deaths.around(name, lambda: value(*args, **kwargs))

        return call
