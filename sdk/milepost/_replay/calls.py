"""Step calls, before anything is decided about them: one builder per kind of step.

`Steps` and `SyncSteps` differ only in `await`; both pass the records made here to the invocation.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple, cast

from milepost._declare.function import AnyFunction, Function, FunctionRef, event_name, input_of
from milepost._declare.matching import check_match, match_condition
from milepost._declare.retries import Retries
from milepost._declare.triggers import AnyEvent, Event, Trigger, received_event
from milepost._values.current import Named, check_text, here
from milepost._values.durations import Duration, open_duration, wire_duration, wire_moment
from milepost._values.events import Sendable
from milepost._values.serializer import Adapter, adapter_for, dropped, returned_type
from milepost.errors import BadIdError, ConfigError
from milepost.protocol import Opcode

from .options import take_options

__all__ = [
    "StepCall",
    "invoke_call",
    "read_wait",
    "run_call",
    "send_call",
    "sleep_call",
    "sleep_until_call",
    "wait_call",
]

MAX_STEP_NAME_CHARS: Final = 1024
_RUN: Final = Opcode.STEP_RUN
_EMPTY: Final[Mapping[str, object]] = MappingProxyType({})


class StepCall(NamedTuple):
    """One use of a step tool. A tuple, because a replay makes one per step, three times as fast as a frozen dataclass.

    `body` is the callable of a step that runs code, called with `args` and `kwargs`; None for steps of the server (a
    sleep, a wait, an invoke). `adapter` reads the value back as the type that the user declared; `unresolved` says why
    there is none, if that type cannot be used.
    """

    name: str
    opcode: Opcode
    opts: Mapping[str, object] = _EMPTY
    wire_name: str | None = None
    body: Callable[..., object] | None = None
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = _EMPTY
    retries: Retries | None = None
    adapter: Adapter | None = None
    event: AnyEvent | None = None
    unresolved: str | None = None
    timeout: float | None = None


def check_name(name: object) -> str:
    """Refuse a step id that is too long or cannot be sent (BadIdError)."""
    if isinstance(name, str) and name.isascii() and "\0" not in name and 0 < len(name) <= MAX_STEP_NAME_CHARS:
        return name  # the most frequent case, before anything is built for errors
    with Named("a step"):
        if not isinstance(name, str) or not name:
            raise BadIdError(f"its id is {name!r}: give it a name, such as 'charge card'")
        if len(name) > MAX_STEP_NAME_CHARS:
            raise BadIdError(
                f"its id {name[:40]!r}… has {len(name)} characters; at most {MAX_STEP_NAME_CHARS} are allowed"
            )
        return check_text(name, "its id", BadIdError)


def run_call(name: str, fn: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, object]) -> StepCall:
    """A step that runs your code."""
    check_name(name)
    if isinstance(cast("object", fn), Function):
        raise ConfigError(f"step {name!r}{here()} got {fn!r} to run: write step.invoke(id, function, data)")
    if not callable(fn):
        if inspect.iscoroutine(fn):
            # Otherwise the interpreter warns later, in another place, that it was never awaited.
            fn.close()
        raise ConfigError(
            f"step {name!r}{here()} got an object of type {type(fn).__name__} to run: pass the function itself and its "
            "arguments, step.run(id, fn, *args), without calling it"
        )
    retries, timeout, kwargs = take_options(name, fn, args, kwargs)
    annotation = returned_type(fn)
    adapter = adapter_for(annotation)
    unresolved = dropped(annotation) if adapter is None else None
    # By position, because keywords take twice as long.
    return StepCall(name, _RUN, _EMPTY, None, fn, args, kwargs, retries, adapter, None, unresolved, timeout)


def sleep_call(name: str, duration: Duration) -> StepCall:
    """A sleep of a given length."""
    with Named(f"sleep {check_name(name)!r}"):
        text = wire_duration(open_duration(duration, "the duration"))
    return StepCall(name, Opcode.SLEEP, {"duration": text}, wire_name=text)


def sleep_until_call(name: str, until: datetime | str) -> StepCall:
    """A sleep until a moment."""
    with Named(f"sleep {check_name(name)!r}"):
        text = wire_moment(until, "the moment")
    return StepCall(name, Opcode.SLEEP, {"duration": text}, wire_name=text)


def wait_call(
    name: str,
    event: str | AnyEvent,
    *,
    timeout: Duration,
    if_: str | None,
    match: str | None,
    lookback: Duration | None,
    triggers: Sequence[Trigger],
) -> StepCall:
    """A wait for an event; `triggers` are those of the function."""
    with Named(f"wait {check_name(name)!r}"):
        awaited = event_name(event, "wait_for_event")
        opts: dict[str, object] = {"event": awaited, "timeout": wire_duration(open_duration(timeout, "the timeout"))}
        if condition := match_condition(if_, match):
            opts["if"] = condition
        if match is not None:
            check_match(match, event, triggers)
        if lookback is not None:
            opts["lookback"] = wire_duration(open_duration(lookback, "the lookback"))
    return StepCall(
        name, Opcode.WAIT_FOR_EVENT, opts, wire_name=awaited, event=event if isinstance(event, Event) else None
    )


def invoke_call(
    name: str,
    function: AnyFunction | FunctionRef[object],
    data: object,
    timeout: Duration | None,
    *,
    cancel_with_parent: bool,
) -> StepCall:
    """An invocation of another function."""
    with Named(f"invoke {check_name(name)!r}"):
        given = cast("object", function)
        if not isinstance(given, Function | FunctionRef):
            raise ConfigError(
                f"it got {given!r} to call: pass a function of this app, or FunctionRef(app_id, function_id)"
            )
        slug = check_text(function.slug, "the id of the function", BadIdError)
        opts: dict[str, object] = {"function_id": slug, "payload": {"data": input_of(function, data)}}
        opts["cancel_with_parent"] = cancel_with_parent
        if timeout is not None:
            opts["timeout"] = wire_duration(open_duration(timeout, "the timeout"))
    returns = function.returns if isinstance(function, FunctionRef) else returned_type(function.handler)
    adapter = adapter_for(returns) if returns is not None else None
    unresolved = dropped(returns) if adapter is None and returns is not None else None
    return StepCall(name, Opcode.INVOKE_FUNCTION, opts, adapter=adapter, unresolved=unresolved)


def send_call(name: str, events: Sendable | Sequence[Sendable], send: Callable[..., object]) -> StepCall:
    """A step that sends events. `send` is called with the events when the step runs."""
    check_name(name)
    return StepCall(name, Opcode.STEP_RUN, {"type": "step.sendEvent"}, body=send, args=(events,))


def read_wait(call: StepCall, raw: Mapping[str, object]) -> object:
    """The event that ended a wait."""
    return received_event(raw, [call.event] if call.event else [], f"wait {call.name!r}")
