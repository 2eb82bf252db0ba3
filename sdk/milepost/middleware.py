"""Middleware: what an app or function adds around invocations, outputs and sent events.

Order within an invocation
    transform_input → (history is replayed) → after_memoization → before_execution → (new code) → after_execution
    → transform_output, for each output → before_response
A function's middleware stands inside the app's: it comes later on the way in, and earlier on the way out.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .errors import ConfigError

if TYPE_CHECKING:
    from ._values.failure import Failure
    from .protocol import Response

__all__ = ["CallInput", "Middleware", "StepOutput"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CallInput:
    """What a function is called with, as JSON values: its events and the remembered steps by hashed id.

    A finished step is `{"data": …}` or `{"error": …}`; a sleep is None; a wait an event or None.
    """

    function_id: str
    run_id: str
    attempt: int
    events: tuple[Mapping[str, Any], ...]
    steps: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StepOutput:
    """One output on its way out: of a step, or of the function (then `step` is None).

    `data` is a JSON value; for a failure it is None and `failure` tells name, message and stack.
    """

    function_id: str
    run_id: str
    step: str | None
    data: Any
    failure: Failure | None = None


class Middleware:
    """Override what you need; every method may be `def` or `async def`.

    An instance is shared by all invocations of a process, on several threads at once: keep no state of one run in it.
    What a method raises fails the invocation, as if the function had raised it. `ctx` is the `Context` or `SyncContext`
    that the function is given; annotate it so in your override.
    """

    def transform_input(self, given: CallInput) -> CallInput | Awaitable[CallInput]:
        """Give what the function is to be called with; change it with `dataclasses.replace`."""
        return given

    def after_memoization(self, ctx: Any) -> Awaitable[None] | None:
        """All remembered steps have been replayed."""

    def before_execution(self, ctx: Any) -> Awaitable[None] | None:
        """New code of the function is about to run."""

    def after_execution(self, ctx: Any) -> Awaitable[None] | None:
        """The function's code has stopped, for this invocation."""

    def transform_output(self, output: StepOutput) -> StepOutput | Awaitable[StepOutput]:
        """Give what is to be sent instead; change it with `dataclasses.replace`. Your code has the original."""
        return output

    def before_response(self, response: Response) -> Awaitable[None] | None:
        """The answer is about to leave."""

    def before_send_events(
        self, events: Sequence[Mapping[str, Any]]
    ) -> Sequence[Mapping[str, Any]] | Awaitable[Sequence[Mapping[str, Any]]]:
        """Give the events to send, as JSON objects; as many as were given, in the same order."""
        return events

    def after_send_events(self, events: Sequence[Mapping[str, Any]], ids: Sequence[str]) -> Awaitable[None] | None:
        """The events were accepted, under these ids."""


Caller = Callable[..., Awaitable[Any]]
"""Calls a function and waits for its result, in the way of the runner."""


class Middlewares:
    """A list of middleware as one."""

    def __init__(self, members: Sequence[Middleware]) -> None:
        if not isinstance(cast("object", members), Iterable):
            raise ConfigError(f"middleware is {members!r}: give a list, middleware=[…]")
        for member in cast("Sequence[object]", members):
            if not isinstance(member, Middleware):
                raise ConfigError(
                    f"{member!r} is not a middleware: give an instance of a subclass of milepost.Middleware"
                )
        self.members = tuple(members)

    def within(self, inner: Sequence[Middleware]) -> Middlewares:
        """These, with others inside them."""
        return Middlewares((*self.members, *inner)) if inner else self

    def __bool__(self) -> bool:
        return bool(self.members)

    def overrides(self, hook: str) -> bool:
        """Whether any member does something at this point."""
        return any(getattr(type(member), hook) is not getattr(Middleware, hook) for member in self.members)

    async def notify(self, call: Caller, hook: str, *args: object, inwards: bool = True) -> None:
        """Tell all members."""
        for member in self.members if inwards else reversed(self.members):
            await self._one(call, member, hook, args)

    async def transform(self, call: Caller, hook: str, value: T, *, inwards: bool = True) -> T:
        """Let each member change a value in turn."""
        for member in self.members if inwards else reversed(self.members):
            changed = await self._one(call, member, hook, (value,))
            if changed is None:
                raise ConfigError(f"{type(member).__name__}.{hook} returned None: return the value, changed or not")
            value = cast("T", changed)
        return value

    @staticmethod
    async def _one(call: Caller, member: Middleware, hook: str, args: tuple[object, ...]) -> object:
        try:
            return await call(getattr(member, hook), *args)
        except Exception as error:
            error.add_note(f"raised by the middleware {type(member).__name__}, in {hook}")
            raise


async def call_and_wait(fn: Callable[..., object], /, *args: object) -> Any:
    """The caller on an event loop."""
    result = fn(*args)
    return await result if inspect.isawaitable(result) else result
