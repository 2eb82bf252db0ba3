"""The step tools. `Steps` is for `async def` functions, `SyncSteps` for `def`: they differ in `await` only.

Every step has an id of your choice. The n-th use of the same id in a run is remembered separately, so loops may use
one id; ids must not depend on time or random_source.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from milepost._declare.function import Function, FunctionRef
from milepost._declare.retries import Retries
from milepost._declare.triggers import Event
from milepost._values.durations import Duration
from milepost._values.events import ReceivedEvent, Sendable

from .calls import invoke_call, run_call, send_call, sleep_call, sleep_until_call, wait_call
from .invocation import UNKNOWN

if TYPE_CHECKING:
    from .async_runner import AsyncRunner
    from .sync_runner import SyncRunner

__all__ = ["Steps", "SyncSteps"]

P = ParamSpec("P")
T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
D = TypeVar("D")

# ruff: noqa: A002, ASYNC109 - `id` is the public word for a step's name; time-outs are the server's


class Steps:
    """Steps of an async function. Await them; run them in parallel with `asyncio.gather` or a `TaskGroup`."""

    __slots__ = ("_runner", "_send")

    def __init__(self, runner: AsyncRunner, send: Callable[..., object]) -> None:
        self._runner = runner
        self._send = send

    @overload
    async def run(
        self, id: str, fn: Callable[..., Awaitable[T]], *args: object, retries: Retries | int, **kwargs: object
    ) -> T: ...
    @overload
    async def run(
        self, id: str, fn: Callable[..., T], *args: object, retries: Retries | int, **kwargs: object
    ) -> T: ...
    @overload
    async def run(self, id: str, fn: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    async def run(self, id: str, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    async def run(self, id: str, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run your code once, and remember its result.

        Args:
            id: Name of the step.
            fn: An async or sync callable.
            *args: What to call it with.
            **kwargs: What to call it with; `retries` is taken out: a number or `Retries`, for this step alone.

        The result travels as JSON (at most 4 MiB), the first time too; a return annotation of `fn` such as a model,
        a dataclass or a datetime is read back as that type. Raises StepError when the step failed for good.
        """
        known = self._runner.recall(id, fn)
        return known if known is not UNKNOWN else await self._runner.take(run_call(id, fn, args, kwargs))

    async def sleep(self, id: str, duration: Duration) -> None:
        """Sleep for a timedelta, a text such as `"1h30m"`, or seconds. At most 366 days; costs nothing meanwhile."""
        await self._runner.take(sleep_call(id, duration))

    async def sleep_until(self, id: str, until: datetime | str) -> None:
        """Sleep up to a moment: an aware datetime, or ISO 8601 text with an offset. A past one is over at once."""
        await self._runner.take(sleep_until_call(id, until))

    @overload
    async def wait_for_event(
        self, id: str, event: Event[D], *, timeout: Duration, if_: str | None = None, match: str | None = None,
        lookback: Duration | None = None,
    ) -> ReceivedEvent[D] | None: ...  # fmt: skip
    @overload
    async def wait_for_event(
        self, id: str, event: str, *, timeout: Duration, if_: str | None = None, match: str | None = None,
        lookback: Duration | None = None,
    ) -> ReceivedEvent[dict[str, Any]] | None: ...  # fmt: skip
    async def wait_for_event(
        self,
        id: str,
        event: str | Event[Any],
        *,
        timeout: Duration,
        if_: str | None = None,
        match: str | None = None,
        lookback: Duration | None = None,
    ) -> ReceivedEvent[Any] | None:
        """Wait for an event; None when the time is up first.

        Args:
            id: Name of the step.
            event: Name of the event, or its `Event`.
            timeout: At most 366 days.
            if_: Expression over `event` (what started the run) and `async` (the candidate).
            match: Short for equality of one path in both, such as `"data.order_id"`.
            lookback: Also take an event received so long before the wait began, even one that ended an earlier wait.
                None: only later ones.
        """
        call = wait_call(id, event, timeout=timeout, if_=if_, match=match, lookback=lookback)
        return cast("ReceivedEvent[Any] | None", await self._runner.take(call))

    async def invoke(
        self,
        id: str,
        function: Function[Any, T] | FunctionRef[T],
        data: object = None,
        timeout: Duration | None = None,
    ) -> T:
        """Call another function and wait for its result.

        Args:
            id: Name of the step.
            function: A function of this app, or `FunctionRef(app_id, function_id)`.
            data: Its event data: a dict or a model.
            timeout: A year by default.

        Raises StepError when it failed, was cancelled, does not exist or took too long.
        """
        return cast("T", await self._runner.take(invoke_call(id, function, data, timeout)))

    async def send_event(self, id: str, events: Sendable | Sequence[Sendable]) -> list[str]:
        """Send events once, even if the step is tried again; gives their ids."""
        return cast("list[str]", await self._runner.take(send_call(id, events, self._send)))


class SyncSteps:
    """Steps of a sync function. See `Steps` for what each does; `parallel` runs several side by side."""

    __slots__ = ("_runner", "_send")

    def __init__(self, runner: SyncRunner, send: Callable[..., object]) -> None:
        self._runner = runner
        self._send = send

    @overload
    def run(
        self, id: str, fn: Callable[..., Awaitable[T]], *args: object, retries: Retries | int, **kwargs: object
    ) -> T: ...
    @overload
    def run(self, id: str, fn: Callable[..., T], *args: object, retries: Retries | int, **kwargs: object) -> T: ...
    @overload
    def run(self, id: str, fn: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def run(self, id: str, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    def run(self, id: str, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run your code once, and remember its result. See `Steps.run`."""
        known = self._runner.recall(id, fn)
        return known if known is not UNKNOWN else self._runner.take(run_call(id, fn, args, kwargs))

    def sleep(self, id: str, duration: Duration) -> None:
        """Sleep for a while. See `Steps.sleep`."""
        self._runner.take(sleep_call(id, duration))

    def sleep_until(self, id: str, until: datetime | str) -> None:
        """Sleep up to a moment. See `Steps.sleep_until`."""
        self._runner.take(sleep_until_call(id, until))

    @overload
    def wait_for_event(
        self, id: str, event: Event[D], *, timeout: Duration, if_: str | None = None, match: str | None = None,
        lookback: Duration | None = None,
    ) -> ReceivedEvent[D] | None: ...  # fmt: skip
    @overload
    def wait_for_event(
        self, id: str, event: str, *, timeout: Duration, if_: str | None = None, match: str | None = None,
        lookback: Duration | None = None,
    ) -> ReceivedEvent[dict[str, Any]] | None: ...  # fmt: skip
    def wait_for_event(
        self,
        id: str,
        event: str | Event[Any],
        *,
        timeout: Duration,
        if_: str | None = None,
        match: str | None = None,
        lookback: Duration | None = None,
    ) -> ReceivedEvent[Any] | None:
        """Wait for an event; None when the time is up first. See `Steps.wait_for_event`."""
        call = wait_call(id, event, timeout=timeout, if_=if_, match=match, lookback=lookback)
        return cast("ReceivedEvent[Any] | None", self._runner.take(call))

    def invoke(
        self, id: str, function: Function[Any, T] | FunctionRef[T], data: object = None, timeout: Duration | None = None
    ) -> T:
        """Call another function and wait for its result. See `Steps.invoke`."""
        return cast("T", self._runner.take(invoke_call(id, function, data, timeout)))

    def send_event(self, id: str, events: Sendable | Sequence[Sendable]) -> list[str]:
        """Send events once, even if the step is tried again; gives their ids."""
        return cast("list[str]", self._runner.take(send_call(id, events, self._send)))

    @overload
    def parallel(self, branches: tuple[Callable[[], T1], Callable[[], T2]]) -> tuple[T1, T2]: ...
    @overload
    def parallel(self, branches: tuple[Callable[[], T1], Callable[[], T2], Callable[[], T3]]) -> tuple[T1, T2, T3]: ...
    @overload
    def parallel(
        self, branches: tuple[Callable[[], T1], Callable[[], T2], Callable[[], T3], Callable[[], T4]]
    ) -> tuple[T1, T2, T3, T4]: ...
    @overload
    def parallel(self, branches: Sequence[Callable[[], T]]) -> tuple[T, ...]: ...
    def parallel(self, branches: Sequence[Callable[[], Any]]) -> tuple[Any, ...]:
        """Run branches side by side: callables that use steps, such as `lambda: step.run("a", a)`.

        Gives their results in order. When branches have failed, waits for all, then raises the first error in order.
        Branches run on threads of their own, one at a time; what is tied to a thread belongs inside a step.
        """
        return self._runner.parallel(branches)
