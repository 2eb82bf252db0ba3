"""Middleware: hooks of an app or a function around invocations, outputs and sent events.

Order within an invocation
    transform_input → (history is replayed) → after_memoization → before_execution → (new code) → after_execution
    → transform_output, for each output → before_response
A function's middleware is nested inside the app's: it runs later on the way in, and earlier on the way out.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ._values.json_types import JsonObject
from .errors import ConfigError

if TYPE_CHECKING:
    from ._values.failure import Failure
    from .protocol import Response

__all__ = ["CallInput", "Middleware", "StepOutput"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CallInput:
    """The input of an invocation, as JSON values.

    Attributes:
        function_id: The full id: app id and function id.
        run_id: Id of the run.
        attempt: The attempt, from 0.
        events: The events that started the run.
        steps: The remembered steps by hashed id. A finished step is `{"data": …}` or `{"error": …}`; a sleep is None; a
            wait is an event or None.
    """

    function_id: str
    run_id: str
    attempt: int
    events: tuple[JsonObject, ...]
    steps: JsonObject


@dataclass(frozen=True, slots=True)
class StepOutput:
    """The output of a step or of the function, before it is sent to the server.

    Attributes:
        function_id: The full id: app id and function id.
        run_id: Id of the run.
        step: The id of the step, as your code gives it; None for the function's own result.
        data: The JSON value; None for a failure.
        failure: Name, message and stack of the error, if the step failed; else None.
    """

    function_id: str
    run_id: str
    step: str | None
    data: Any
    failure: Failure | None = None


class Middleware:
    """Base class of your middleware: override the methods that you need, each with `def` or `async def`.

    An instance is shared by all invocations of a process, on several threads at once: do not keep the state of a run in
    it. An error in a method fails the invocation, as if the function had raised it. `ctx` is the `Context` or
    `SyncContext` of the function; annotate it as such in your override.
    """

    def transform_input(self, given: CallInput) -> CallInput | Awaitable[CallInput]:
        """Return the input to call the function with; change it with `dataclasses.replace`."""
        return given

    def after_memoization(self, ctx: Any) -> Awaitable[None] | None:
        """Called when all remembered steps have been replayed."""

    def before_execution(self, ctx: Any) -> Awaitable[None] | None:
        """Called before new code of the function runs."""

    def after_execution(self, ctx: Any) -> Awaitable[None] | None:
        """Called when the function's code has stopped for this invocation."""

    def transform_output(self, output: StepOutput) -> StepOutput | Awaitable[StepOutput]:
        """Return the output to send; change it with `dataclasses.replace`. Your code keeps the original value."""
        return output

    def before_response(self, response: Response) -> Awaitable[None] | None:
        """Called before the response is sent."""

    def before_send_events(
        self, events: Sequence[JsonObject]
    ) -> Sequence[JsonObject] | Awaitable[Sequence[JsonObject]]:
        """Return the events to send, as JSON objects: as many as were passed, in the same order."""
        return events

    def after_send_events(self, events: Sequence[JsonObject], ids: Sequence[str]) -> Awaitable[None] | None:
        """Called when the events were accepted; `ids` are their ids, in the same order."""


HookCaller = Callable[..., Awaitable[object]]
"""Calls a middleware's method and waits for its result, as the runner requires."""


class Middlewares:
    """A list of middleware, called as one."""

    def __init__(self, members: Sequence[Middleware]) -> None:
        if not isinstance(cast("object", members), Iterable):
            raise ConfigError(f"middleware is {members!r}: pass a list, middleware=[…]")
        for member in cast("Sequence[object]", members):
            if not isinstance(member, Middleware):
                raise ConfigError(
                    f"{member!r} is not a middleware: pass an instance of a subclass of milepost.middleware.Middleware"
                )
        self.members = tuple(members)

    def within(self, inner: Sequence[Middleware]) -> Middlewares:
        """A list with `inner` nested inside this one."""
        return Middlewares((*self.members, *inner)) if inner else self

    def __bool__(self) -> bool:
        return bool(self.members)

    def overrides(self, hook: str) -> bool:
        """Whether any member overrides this hook."""
        return any(getattr(type(member), hook) is not getattr(Middleware, hook) for member in self.members)

    async def notify(self, call: HookCaller, hook: str, *args: object, inwards: bool = True) -> None:
        """Call the hook of all members."""
        for member in self.members if inwards else reversed(self.members):
            await self._one(call, member, hook, args)

    async def transform(self, call: HookCaller, hook: str, value: T, *, inwards: bool = True) -> T:
        """Pass a value through the hook of each member. Raises ConfigError if one returns None."""
        for member in self.members if inwards else reversed(self.members):
            changed = await self._one(call, member, hook, (value,))
            if changed is None:
                raise ConfigError(
                    f"{type(member).__name__}.{hook} returned None: return the value, changed or unchanged"
                )
            value = cast("T", changed)
        return value

    @staticmethod
    async def _one(call: HookCaller, member: Middleware, hook: str, args: tuple[object, ...]) -> object:
        try:
            return await call(getattr(member, hook), *args)
        except Exception as error:
            error.add_note(f"raised by the middleware {type(member).__name__}, in {hook}")
            raise


async def call_and_wait(fn: Callable[..., object], /, *args: object) -> object:
    """The HookCaller for code on an event loop."""
    result = fn(*args)
    return cast("object", await result) if inspect.isawaitable(result) else result
