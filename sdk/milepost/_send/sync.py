"""Sends events from code without an event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, TypeVar

from milepost._values.stepping import as_coroutine, step_through

if TYPE_CHECKING:
    from milepost._values.events import Sendable

    from .sender import EventSender

__all__ = ["send_now"]

T = TypeVar("T")


def send_now(sender: EventSender, events: Sendable | Sequence[Sendable]) -> list[str]:
    """Send in the calling thread."""
    return step_through(sender.send(events, call=_call_hook, hand_over=_hand_over))


async def _call_hook(fn: Callable[..., object], *args: object) -> object:
    result = fn(*args)
    return _run_elsewhere(as_coroutine(result)) if inspect.isawaitable(result) else result


async def _hand_over(send: Callable[[], Sequence[str]]) -> Sequence[str]:
    return send()


def _run_elsewhere(work: Coroutine[object, None, T]) -> T:
    """Run an async middleware on another thread: the caller's may have a running event loop."""
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(asyncio.run(work))
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="milepost-send")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
