"""What a step call asks for, before anything is decided: one builder per kind of step.

`Steps` and `SyncSteps` differ in `await` only; both hand the records made here to the invocation.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

from milepost._declare.function import Function, FunctionRef, event_name, match_condition
from milepost._declare.retries import Retries, to_retries
from milepost._declare.triggers import Event, receive
from milepost._values.current import Named, check_text, here
from milepost._values.durations import Duration, open_duration, wire_duration, wire_moment
from milepost._values.events import Sendable
from milepost._values.serializer import Adapter, UnresolvedAnnotation, adapter_for, plain_json, returned_type
from milepost.errors import BadIdError, ConfigError
from milepost.protocol import Opcode

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
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class StepCall(NamedTuple):
    """One use of a step tool. A tuple: a replay makes one for each step, three times as fast as a frozen dataclass.

    `body` is what to run for a run-like step, with `args`; None for steps that the server brings about.
    `adapter` reads the value back as the type that the user declared.
    """

    name: str
    opcode: Opcode
    opts: Mapping[str, object] = _NOTHING
    wire_name: str | None = None
    body: Callable[..., object] | None = None
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = _NOTHING
    retries: Retries | None = None
    adapter: Adapter | None = None
    event: Event[Any] | None = None
    unresolved: str | None = None


def check_name(name: object) -> str:
    """Refuse a step id that cannot travel."""
    if isinstance(name, str) and name.isascii() and "\0" not in name and 0 < len(name) <= MAX_STEP_NAME_CHARS:
        return name  # the commonest, before anything is put together for errors
    with Named("a step"):
        if not isinstance(name, str) or not name:
            raise BadIdError(f"its id is {name!r}: give it a name, such as 'charge card'")
        if len(name) > MAX_STEP_NAME_CHARS:
            raise BadIdError(
                f"its id {name[:40]!r}… has {len(name)} letters; at most {MAX_STEP_NAME_CHARS} are allowed"
            )
        return check_text(name, "its id", BadIdError)


def run_call(name: str, fn: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, Any]) -> StepCall:
    """A step that runs your code."""
    check_name(name)
    if not callable(fn):
        if inspect.iscoroutine(fn):
            # Otherwise the interpreter complains, elsewhere, that it was never awaited.
            fn.close()
        raise ConfigError(
            f"step {name!r}{here()} was given {type(fn).__name__} to run: give the function itself and its arguments, "
            "step.run(id, fn, *args), without calling it"
        )
    own: Retries | int | None = None
    if "retries" in kwargs:
        own = kwargs["retries"]
        kwargs = {key: value for key, value in kwargs.items() if key != "retries"}
    annotation = returned_type(fn)
    unresolved = annotation.text if isinstance(annotation, UnresolvedAnnotation) else None
    retries: Retries | None = None
    if own is not None:
        with Named(f"step {name!r}"):
            retries = to_retries(own)
    # By position: by name it takes twice as long.
    return StepCall(name, _RUN, _NOTHING, None, fn, args, kwargs, retries, adapter_for(annotation), None, unresolved)


def sleep_call(name: str, duration: Duration) -> StepCall:
    """A sleep of a given length."""
    with Named(f"sleep {check_name(name)!r}"):
        text = wire_duration(open_duration(duration, "the duration"))
    return StepCall(name, Opcode.SLEEP, {"duration": text}, wire_name=text)


def sleep_until_call(name: str, until: datetime | str) -> StepCall:
    """A sleep up to a moment."""
    with Named(f"sleep {check_name(name)!r}"):
        text = wire_moment(until, "the moment")
    return StepCall(name, Opcode.SLEEP, {"duration": text}, wire_name=text)


def wait_call(
    name: str,
    event: str | Event[Any],
    *,
    timeout: Duration,
    if_: str | None,
    match: str | None,
    lookback: Duration | None,
) -> StepCall:
    """A wait for an event."""
    with Named(f"wait {check_name(name)!r}"):
        known = event_name(event, "wait_for_event")
        opts: dict[str, object] = {"event": known, "timeout": wire_duration(open_duration(timeout, "the timeout"))}
        if condition := match_condition(if_, match):
            opts["if"] = condition
        if lookback is not None:
            opts["lookback"] = wire_duration(open_duration(lookback, "the lookback"))
    return StepCall(
        name, Opcode.WAIT_FOR_EVENT, opts, wire_name=known, event=event if isinstance(event, Event) else None
    )


def invoke_call(
    name: str, function: Function[Any, Any] | FunctionRef[Any], data: object, timeout: Duration | None
) -> StepCall:
    """A call of another function."""
    with Named(f"invoke {check_name(name)!r}"):
        given = cast("object", function)
        if not isinstance(given, Function | FunctionRef):
            raise ConfigError(
                f"it was given {given!r} to call: give a function of this app, or FunctionRef(app_id, function_id)"
            )
        slug = check_text(function.slug, "the id of the function", BadIdError)
        opts: dict[str, object] = {"function_id": slug, "payload": {"data": _payload(function, data)}}
        if timeout is not None:
            opts["timeout"] = wire_duration(open_duration(timeout, "the timeout"))
    returns = function.returns if isinstance(function, FunctionRef) else returned_type(function.handler)
    return StepCall(name, Opcode.INVOKE_FUNCTION, opts, adapter=adapter_for(returns) if returns is not None else None)


def _payload(function: Function[Any, Any] | FunctionRef[Any], data: object) -> object:
    """The data for an invoked function, checked against its one model if it has one."""
    plain: object = plain_json({} if data is None else data, f"its call of {function.slug!r}")
    told = cast("dict[str, object]", plain) if isinstance(plain, dict) else None
    if told is None:
        raise ConfigError(f"it was given data of type {type(data).__name__}: give an object (a dict or a model)")
    if isinstance(function, Function):
        models = [t for t in function.triggers if isinstance(t, Event) and t.model is not None]
        if len(models) == 1:
            models[0].validate(told)
    return told


def send_call(name: str, events: Sendable | Sequence[Sendable], send: Callable[..., object]) -> StepCall:
    """A step that sends events. `send` is called with the events when the step runs."""
    check_name(name)
    return StepCall(name, Opcode.STEP_RUN, {"type": "step.sendEvent"}, body=send, args=(events,))


def read_wait(call: StepCall, raw: Mapping[str, object]) -> object:
    """The event that ended a wait."""
    return receive(raw, [call.event] if call.event else [], f"wait {call.name!r}")
