"""Calls the body of a step with a time limit.

An `async def` body is cancelled when its time is up. Any other code cannot be stopped from outside: it runs on a thread
of its own, which is abandoned. The attempt fails at once, and the abandoned thread may still be running when the next
attempt starts. A result that arrives although the body was cancelled counts: what it did is done.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from typing import Final, NamedTuple, cast

from milepost.errors import StepTimeoutError

__all__ = ["call_within"]

CANCEL_SECONDS: Final = 1.0
"""How long the `finally:` blocks of a cancelled body may take."""


class _Outcome(NamedTuple):
    """What a body came to. Not an exception of a task or future: those handle some kinds in ways of their own."""

    value: object
    error: BaseException | None = None

    def get(self) -> object:
        if self.error is not None:
            raise self.error
        return self.value


async def call_within(
    seconds: float,
    too_late: StepTimeoutError,
    fn: Callable[..., object],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> object:
    """The result of the body. Raises `too_late` if it does not end in time."""
    made = _call(fn, args, kwargs) if _is_async(fn) else _call_on_thread(fn, args, kwargs)
    task = asyncio.get_running_loop().create_task(made)
    try:
        await asyncio.wait([task], timeout=seconds)
    except asyncio.CancelledError:
        await _cancel(task)
        raise
    if task.done():
        return task.result().get()
    await _cancel(task)
    if not task.done() or task.cancelled():
        raise too_late
    value, error = task.result()
    if error is not None:
        raise too_late from error
    return value


async def _cancel(task: asyncio.Task[_Outcome]) -> None:
    task.cancel()
    await asyncio.wait([task], timeout=CANCEL_SECONDS)


async def _call(fn: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, object]) -> _Outcome:
    try:
        return _Outcome(await cast("Awaitable[object]", fn(*args, **kwargs)))
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - raised where the step is called
        return _Outcome(None, error)


async def _call_on_thread(
    fn: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, object]
) -> _Outcome:
    ended: Future[_Outcome] = Future()
    context = copy_context()

    def work() -> None:
        ended.set_running_or_notify_cancel()
        try:
            outcome = _Outcome(context.run(fn, *args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - as above
            outcome = _Outcome(None, error)
        ended.set_result(outcome)

    # A daemon, so that a body that hangs does not keep the process alive.
    threading.Thread(target=work, name="milepost-step", daemon=True).start()
    outcome = await asyncio.wrap_future(ended)
    if inspect.isawaitable(outcome.value):
        awaited = outcome.value
        return await _call(lambda: awaited, (), {})
    return outcome


def _is_async(fn: Callable[..., object]) -> bool:
    while isinstance(fn, functools.partial):
        fn = cast("Callable[..., object]", fn.func)
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)
