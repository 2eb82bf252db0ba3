"""An asyncio event loop without threads, sockets or time: callbacks run in the order in which they became ready.

The engine and the SDK run on it as on any other loop. `drain` returns when nothing is ready any more; then the
scheduler chooses what happens next. A timeout set on this loop never expires.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["TASKS", "SteppedLoop"]

TASKS: contextvars.ContextVar[list[asyncio.Task[Any]] | None] = contextvars.ContextVar("TASKS", default=None)
"""Collects the tasks that one invocation of user code starts."""


class _Handle:
    """A callback in the queue of the loop."""

    __slots__ = ("args", "call", "cancelled", "context")

    def __init__(self, call: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context | None) -> None:
        self.call, self.args, self.cancelled = call, args, False
        self.context = context or contextvars.copy_context()

    def cancel(self) -> None:
        self.cancelled = True


class SteppedLoop(asyncio.AbstractEventLoop):
    """See the module. Each of `idlers` is asked for more work when nothing is ready, and says whether it had some."""

    def __init__(self) -> None:
        self._ready: deque[_Handle] = deque()
        self.idlers: dict[Callable[[], bool], None] = {}
        self.errors: list[dict[str, Any]] = []
        self._tasks: list[tuple[asyncio.Task[Any], contextvars.Context]] = []

    def drain(self) -> None:
        """Run everything that is ready, and everything that follows from it."""
        asyncio._set_running_loop(self)
        try:
            self._drain()
        finally:
            asyncio._set_running_loop(None)

    def _drain(self) -> None:
        ready = self._ready
        while True:
            while ready:
                handle = ready.popleft()
                if not handle.cancelled:
                    handle.context.run(handle.call, *handle.args)
            had_some = [idler() for idler in list(self.idlers)]
            if not any(had_some):
                return

    # --- what asyncio asks of a loop -----------------------------------------------------------------------------

    def call_soon(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:  # type: ignore[override]
        handle = _Handle(callback, args, context)
        self._ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        return _Handle(callback, args, context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        return _Handle(callback, args, context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None, **_: Any) -> Any:
        context = context or contextvars.copy_context()
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.append((task, context))
        if (started := context.get(TASKS)) is not None:
            started.append(task)
        return task

    def time(self) -> float:
        return 0.0

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def abandon(self) -> None:
        """Close tasks that will never be run again, so that the interpreter does not complain about them later."""
        for task, context in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                coro = task.get_coro()
                if isinstance(coro, Coroutine):
                    # Cleanup code that awaits something cannot run any more.
                    with contextlib.suppress(RuntimeError, ValueError):
                        context.run(coro.close)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(context)
