"""The step tools: `Steps` for `async def` functions, `SyncSteps` for `def`. They differ only in `await`.

You choose the id of every step. Each use of an id in a run is remembered separately, so a loop may use one id; ids must
not depend on the time or on random numbers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from milepost._declare.function import Function, FunctionRef
from milepost._declare.retries import Retries
from milepost._declare.triggers import AnyEvent, Event, Trigger
from milepost._values.current import here
from milepost._values.durations import Duration
from milepost._values.events import ReceivedEvent, Sendable
from milepost._values.json_types import EventData
from milepost.errors import ConfigError

from .branches import STEP_TOOLS
from .calls import StepCall, invoke_call, run_call, send_call, sleep_call, sleep_until_call, wait_call
from .replay import UNKNOWN

if TYPE_CHECKING:
    from .async_runner import AsyncRunner
    from .sync_runner import SyncRunner

__all__ = ["StepOptions", "Steps", "SyncStepOptions", "SyncSteps"]

P = ParamSpec("P")
T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
D = TypeVar("D")

# ruff: noqa: A002, ASYNC109 - `id` is the public word for a step's name; the server enforces timeouts


async def _run(
    runner: AsyncRunner,
    use: int,
    id: str,
    fn: Callable[..., object],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> object:
    known = runner.recall(use, id, fn, args, kwargs)
    return known if known is not UNKNOWN else await runner.take(use, run_call(id, fn, args, kwargs))


async def _take(runner: AsyncRunner, use: int, call: Callable[[], StepCall]) -> object:
    # The arguments are checked when the step is awaited.
    return await runner.take(use, call())


STEP_TOOLS.update((_run.__code__, _take.__code__))


class Steps:
    """The steps of an async function. Await them; run them in parallel with `asyncio.gather` or a `TaskGroup`.

    Every method raises BadIdError for an id that is not 1–1024 characters or cannot be sent, ConfigError (or one of its
    subclasses) for an invalid argument, and NestedStepError inside the body of another step.
    """

    __slots__ = ("_runner", "_send", "_triggers")

    def __init__(self, runner: AsyncRunner, send: Callable[..., object], triggers: Sequence[Trigger]) -> None:
        self._runner = runner
        self._send = send
        self._triggers = triggers

    @overload
    async def run(
        self,
        id: str,
        fn: Callable[..., Awaitable[T]],
        *args: object,
        retries: Retries | int,
        timeout: Duration | None = None,
        **kwargs: object,
    ) -> T: ...
    @overload
    async def run(
        self,
        id: str,
        fn: Callable[..., T],
        *args: object,
        retries: Retries | int,
        timeout: Duration | None = None,
        **kwargs: object,
    ) -> T: ...
    @overload
    async def run(
        self, id: str, fn: Callable[..., Awaitable[T]], *args: object, timeout: Duration, **kwargs: object
    ) -> T: ...
    @overload
    async def run(self, id: str, fn: Callable[..., T], *args: object, timeout: Duration, **kwargs: object) -> T: ...
    @overload
    async def run(self, id: str, fn: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    async def run(self, id: str, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    def run(self, id: str, fn: Callable[..., object], *args: object, **kwargs: object) -> Coroutine[Any, Any, object]:
        """Run your code until it succeeds once, and remember its result.

        Args:
            id: Name of the step.
            fn: An async or sync callable. It may run more than once: after an error, or after a crash before its result
                was saved.
            *args: Positional arguments for `fn`.
            **kwargs: Keyword arguments for `fn`, except two options. `retries`: a number of retries or `Retries` for
                this step only; by default those of the function. `timeout`: the longest time that an attempt may take,
                a duration of more than zero; by default no limit but that of the invocation. Pass an argument of `fn`
                with one of these names by `functools.partial`.

        When the `timeout` is over, the attempt fails with StepTimeoutError and is retried like after any other error.
        An `async def` function is cancelled. Other code runs on a thread of its own, which cannot be stopped: it is
        abandoned, and may still be running when the next attempt starts.

        The result is round-tripped through JSON (at most 4 MiB), the first time too. If `fn` has a return annotation
        such as a model, a dataclass or a datetime, it is read back as that type. Raises StepError if the step failed
        for good.
        """
        return self._called(id, _run(self._runner, self._runner.use(id), id, fn, args, kwargs))

    def options(self, *, retries: Retries | int | None = None, timeout: Duration | None = None) -> StepOptions:
        """Options for steps: `await ctx.step.options(retries=3).run(id, fn, *args)`.

        The same as `step.run(id, fn, *args, retries=3)`, but there type checkers cannot compare the arguments with the
        parameters of `fn`; here they do.

        Args:
            retries: A number of retries or `Retries`; default: those of the function.
            timeout: The longest time that an attempt may take, more than zero; default: no limit.
        """
        return StepOptions(self, retries, timeout)

    def sleep(self, id: str, duration: Duration) -> Coroutine[Any, Any, None]:
        """Sleep for a timedelta, a string such as `"1h30m"`, or seconds; at most 366 days. No code runs meanwhile."""
        return self._taken(id, lambda: sleep_call(id, duration))

    def sleep_until(self, id: str, until: datetime | str) -> Coroutine[Any, Any, None]:
        """Sleep until an aware datetime, or ISO 8601 text with an offset. A moment in the past ends at once."""
        return self._taken(id, lambda: sleep_until_call(id, until))

    @overload
    def wait_for_event(
        self, id: str, event: Event[D], *, timeout: Duration, if_: str | None = None, match: str | None = None,
        lookback: Duration | None = None,
    ) -> Coroutine[Any, Any, ReceivedEvent[D] | None]: ...  # fmt: skip
    @overload
    def wait_for_event(
        self, id: str, event: str, *, timeout: Duration, if_: str | None = None, match: str | None = None,
        lookback: Duration | None = None,
    ) -> Coroutine[Any, Any, ReceivedEvent[EventData] | None]: ...  # fmt: skip
    def wait_for_event(
        self,
        id: str,
        event: str | AnyEvent,
        *,
        timeout: Duration,
        if_: str | None = None,
        match: str | None = None,
        lookback: Duration | None = None,
    ) -> Coroutine[Any, Any, ReceivedEvent[object] | None]:
        """Wait for an event; returns None if none arrives in time.

        Args:
            id: Name of the step.
            event: Name of the event, or its `Event`.
            timeout: How long to wait, at most 366 days. With 0 and a `lookback` the step takes an event that was
                received before, or None.
            if_: Expression over `event` (the event that started the run) and `async` (the awaited event); default None.
            match: A path that must have the same value in both events, such as `"data.order_id"`; a missing value or
                null never matches. Default None.
            lookback: Also accept an event received up to this long before the wait started; at most 366 days.
                Default None: only later events.

        An event that has ended a wait of this run does not end a later one. A loop of waits with a look-back therefore
        gets every event once, also those received between two waits, and of those that are known the oldest first.
        Events that arrive together while a wait is open may change places. Waits that are open at the same time may be
        ended by the same event.

        Raises EventMismatchError if the data of the event does not match the model of its `Event`, and BadTriggerError
        if that model, or the one of the event that started the run, does not have the path of `match`.
        """
        triggers = self._triggers
        return self._taken(
            id,
            lambda: wait_call(id, event, timeout=timeout, if_=if_, match=match, lookback=lookback, triggers=triggers),
        )

    @overload
    def invoke(
        self, id: str, function: Function[D, T], data: D | Mapping[str, object] | None = None,
        timeout: Duration | None = None, *, cancel_with_parent: bool = True,
    ) -> Coroutine[Any, Any, T]: ...  # fmt: skip
    @overload
    def invoke(
        self, id: str, function: Function[EventData, T] | FunctionRef[T], data: object = None,
        timeout: Duration | None = None, *, cancel_with_parent: bool = True,
    ) -> Coroutine[Any, Any, T]: ...  # fmt: skip
    def invoke(
        self,
        id: str,
        function: Function[Any, T] | FunctionRef[T],
        data: object = None,
        timeout: Duration | None = None,
        *,
        cancel_with_parent: bool = True,
    ) -> Coroutine[Any, Any, T]:
        """Call another function and wait for its result.

        Args:
            id: Name of the step.
            function: A function of this app, or `FunctionRef(app_id, function_id)`.
            data: Its event data: a dict or a model.
            timeout: How long to wait for the result; default a year, at most 366 days. With 0 the function is not
                started. A function that takes longer continues; its result is not used.
            cancel_with_parent: Cancel the function's run when this run is cancelled, by hand, by an event or by a time
                limit; default True, because nobody else waits for its result. A run that has not started yet never
                starts; one that has started stops after the step that it is in.

        Raises StepError if the function failed, was cancelled, does not exist or took too long, and EventMismatchError
        if `data` does not match its model.
        """
        return self._taken(id, lambda: invoke_call(id, function, data, timeout, cancel_with_parent=cancel_with_parent))

    def send_event(self, id: str, events: Sendable | Sequence[Sendable]) -> Coroutine[Any, Any, list[str]]:
        """Send one event or several; returns their ids in order. A retry uses the same ids and starts no second run."""
        return self._taken(id, lambda: send_call(id, events, self._send))

    def _taken(self, id: str, call: Callable[[], StepCall]) -> Coroutine[Any, Any, Any]:
        return self._called(id, _take(self._runner, self._runner.use(id), call))

    def _called(self, id: str, made: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        """A step belongs to the branch that called it, wherever it is awaited; one that never is must be noticed."""
        self._runner.created(made, id)
        return made


class SyncSteps:
    """The steps of a sync function. `Steps` documents each method; `parallel` runs several steps in parallel."""

    __slots__ = ("_runner", "_send", "_triggers")

    def __init__(self, runner: SyncRunner, send: Callable[..., object], triggers: Sequence[Trigger]) -> None:
        self._runner = runner
        self._send = send
        self._triggers = triggers

    @overload
    def run(
        self,
        id: str,
        fn: Callable[..., Awaitable[T]],
        *args: object,
        retries: Retries | int,
        timeout: Duration | None = None,
        **kwargs: object,
    ) -> T: ...
    @overload
    def run(
        self,
        id: str,
        fn: Callable[..., T],
        *args: object,
        retries: Retries | int,
        timeout: Duration | None = None,
        **kwargs: object,
    ) -> T: ...
    @overload
    def run(
        self, id: str, fn: Callable[..., Awaitable[T]], *args: object, timeout: Duration, **kwargs: object
    ) -> T: ...
    @overload
    def run(self, id: str, fn: Callable[..., T], *args: object, timeout: Duration, **kwargs: object) -> T: ...
    @overload
    def run(self, id: str, fn: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def run(self, id: str, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    def run(self, id: str, fn: Callable[..., object], *args: object, **kwargs: object) -> object:
        """Run your code until it succeeds once, and remember its result. See `Steps.run`."""
        use = self._runner.use(id)
        known = self._runner.recall(use, id, fn, args, kwargs)
        return known if known is not UNKNOWN else self._runner.take(use, run_call(id, fn, args, kwargs))

    def options(self, *, retries: Retries | int | None = None, timeout: Duration | None = None) -> SyncStepOptions:
        """Options for steps, whose arguments type checkers then compare. See `Steps.options`."""
        return SyncStepOptions(self, retries, timeout)

    def sleep(self, id: str, duration: Duration) -> None:
        """Sleep for a while. See `Steps.sleep`."""
        self._runner.take(self._runner.use(id), sleep_call(id, duration))

    def sleep_until(self, id: str, until: datetime | str) -> None:
        """Sleep until a moment. See `Steps.sleep_until`."""
        self._runner.take(self._runner.use(id), sleep_until_call(id, until))

    @overload
    def wait_for_event(
        self, id: str, event: Event[D], *, timeout: Duration, if_: str | None = None, match: str | None = None,
        lookback: Duration | None = None,
    ) -> ReceivedEvent[D] | None: ...  # fmt: skip
    @overload
    def wait_for_event(
        self, id: str, event: str, *, timeout: Duration, if_: str | None = None, match: str | None = None,
        lookback: Duration | None = None,
    ) -> ReceivedEvent[EventData] | None: ...  # fmt: skip
    def wait_for_event(
        self,
        id: str,
        event: str | AnyEvent,
        *,
        timeout: Duration,
        if_: str | None = None,
        match: str | None = None,
        lookback: Duration | None = None,
    ) -> ReceivedEvent[object] | None:
        """Wait for an event; returns None if none arrives in time. See `Steps.wait_for_event`."""
        call = wait_call(id, event, timeout=timeout, if_=if_, match=match, lookback=lookback, triggers=self._triggers)
        return cast("ReceivedEvent[object] | None", self._runner.take(self._runner.use(id), call))

    @overload
    def invoke(
        self, id: str, function: Function[D, T], data: D | Mapping[str, object] | None = None,
        timeout: Duration | None = None, *, cancel_with_parent: bool = True,
    ) -> T: ...  # fmt: skip
    @overload
    def invoke(
        self, id: str, function: Function[EventData, T] | FunctionRef[T], data: object = None,
        timeout: Duration | None = None, *, cancel_with_parent: bool = True,
    ) -> T: ...  # fmt: skip
    def invoke(
        self,
        id: str,
        function: Function[Any, T] | FunctionRef[T],
        data: object = None,
        timeout: Duration | None = None,
        *,
        cancel_with_parent: bool = True,
    ) -> T:
        """Call another function and wait for its result. See `Steps.invoke`."""
        return cast(
            "T",
            self._runner.take(
                self._runner.use(id), invoke_call(id, function, data, timeout, cancel_with_parent=cancel_with_parent)
            ),
        )

    def send_event(self, id: str, events: Sendable | Sequence[Sendable]) -> list[str]:
        """Send one event or several; returns their ids in order. A retry uses the same ids and starts no second run."""
        return cast("list[str]", self._runner.take(self._runner.use(id), send_call(id, events, self._send)))

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
    def parallel(self, branches: Sequence[Callable[[], object]]) -> tuple[object, ...]:
        """Run branches in parallel: callables that use steps, such as `lambda: step.run("a", a)`.

        Returns their results in order. If branches fail, it waits for all of them, then raises the error of the first
        that failed, in the order of `branches`. Branches run on different threads, one at a time; use objects that are
        bound to a thread only inside a step. Raises NestedStepError inside the body of a step.
        """
        return self._runner.parallel(branches)


class StepOptions:
    """Options for steps; made by `Steps.options`."""

    __slots__ = ("_options", "_steps")

    def __init__(self, steps: Steps, retries: Retries | int | None, timeout: Duration | None) -> None:
        given = {"retries": retries, "timeout": timeout}
        self._steps: Any = steps
        self._options = {name: value for name, value in given.items() if value is not None}

    @overload
    async def run(self, id: str, fn: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    async def run(self, id: str, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    def run(self, id: str, fn: Callable[..., object], *args: object, **kwargs: object) -> Coroutine[Any, Any, object]:
        """Run your code with these options. See `Steps.run`."""
        return cast("Coroutine[Any, Any, object]", self._steps.run(id, fn, *args, **_joined(id, kwargs, self._options)))


class SyncStepOptions:
    """Options for steps; made by `SyncSteps.options`."""

    __slots__ = ("_options", "_steps")

    def __init__(self, steps: SyncSteps, retries: Retries | int | None, timeout: Duration | None) -> None:
        given = {"retries": retries, "timeout": timeout}
        self._steps: Any = steps
        self._options = {name: value for name, value in given.items() if value is not None}

    @overload
    def run(self, id: str, fn: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def run(self, id: str, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    def run(self, id: str, fn: Callable[..., object], *args: object, **kwargs: object) -> object:
        """Run your code with these options. See `Steps.run`."""
        return cast("object", self._steps.run(id, fn, *args, **_joined(id, kwargs, self._options)))


def _joined(id: str, kwargs: Mapping[str, object], options: Mapping[str, object]) -> dict[str, object]:
    """The keyword arguments of a step with its options. Raises ConfigError for a word that is given twice."""
    for word in kwargs.keys() & options.keys():
        raise ConfigError(
            f"step {id!r}{here()}: {word}= is given to step.options and to run: for an argument of the step's code, "
            f"pass functools.partial(fn, {word}=…)"
        )
    return {**kwargs, **options}
