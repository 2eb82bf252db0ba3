"""A registered function: its handler and its configuration, checked while the user's module is imported."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, NoReturn, cast

from typing_extensions import TypedDict, TypeVar

from milepost._values.current import Named, check_text, here, nearest
from milepost._values.durations import Duration, open_duration, wire_duration
from milepost._values.serializer import adapter_for, plain_json, returned_type
from milepost._values.stepping import step_through
from milepost.errors import BadIdError, BadTriggerError, ConfigError, FlowControlUnsupportedError
from milepost.middleware import Middleware, Middlewares
from milepost.protocol import MAX_CHAIN_CEILING, MAX_STEPS_CEILING, EventName

from .matching import check_key, check_match, match_condition
from .retries import DEFAULT_RETRIES, Retries, to_retries
from .runs import Doors, RunHandle, Startable, start_request
from .triggers import MAX_TRIGGERS, AnyEvent, Cron, Event, Trigger

__all__ = [
    "AnyFunction",
    "Cancel",
    "Function",
    "FunctionOptions",
    "FunctionRef",
    "Handler",
    "Mode",
    "Timeouts",
    "build_function",
    "check_id",
    "input_of",
]

D = TypeVar("D", default=Any)
T_co = TypeVar("T_co", covariant=True, default=Any)

Mode = Literal["step", "checkpoint"]

Handler = Callable[[Any], object]
"""`async def f(ctx: Context)` or `def f(ctx: SyncContext)`; `Function.is_async` says which of them."""

_ID: Final = re.compile(r"^[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9])?$")
_MAX_CANCELS: Final = 5
MAX_START_ID_CHARS: Final = 1024
_FLOW_CONTROL: Final = frozenset({
    "batch", "batch_events", "concurrency", "debounce", "priority", "rate_limit", "singleton", "throttle",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cancel:
    """An event that cancels a run between two steps.

    Args:
        event: The name of the event, or its `Event`.
        if_: Expression over `event` (the event that started the run) and `async` (the cancelling event); default None.
        match: A path that must have the same value in both events, such as `"data.order_id"`; a missing value or null
            never matches. Default None.
        timeout: How long after its start the run can be cancelled by this event; default a year, at most 366 days.

    The function that uses it raises BadTriggerError or BadDurationError for values that are not valid.
    """

    event: str | AnyEvent
    if_: str | None = None
    match: str | None = None
    timeout: Duration | None = None

    def to_wire(self) -> dict[str, object]:
        """The registered form."""
        name = event_name(self.event, "Cancel")
        wire: dict[str, object] = {"event": name}
        if condition := match_condition(self.if_, self.match):
            wire["if"] = condition
        if self.timeout is not None:
            wire["timeout"] = wire_duration(open_duration(self.timeout, f"timeout of Cancel({name!r})"))
        return wire


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits after which a run is cancelled, each at most 366 days; no limit by default.

    Args:
        start: The longest time in the queue before the first invocation.
        finish: The longest time from the first invocation to the end of the run.

    Raises ConfigError for a limit of zero, BadDurationError for one that is not a duration or too long.
    """

    start: Duration | None = None
    finish: Duration | None = None

    def __post_init__(self) -> None:
        for name, value in (("start", self.start), ("finish", self.finish)):
            if value is not None and not open_duration(value, f"Timeouts({name}=…)"):
                raise ConfigError(f"Timeouts({name}={value!r}) is zero: omit it, or set a longer time")


@dataclass(frozen=True)  # with slots, FunctionRef[int](…) is a TypeError in Python 3.11
class FunctionRef(Generic[T_co]):
    """A function of another app, to be invoked by its id.

    Args:
        app_id: Id of the app.
        function_id: Id of the function within the app.
        returns: Type of its result, such as a model; by default the result is plain JSON.
    """

    app_id: str
    function_id: str
    returns: type[T_co] | None = None

    @property
    def slug(self) -> str:
        """The full id, as registered: app id and function id."""
        return f"{self.app_id}-{self.function_id}"


class FunctionOptions(TypedDict, total=False):
    """Options of `App.function` besides `id` and the trigger."""

    name: str
    retries: Retries | int
    on_failure: Handler
    cancel_on: Cancel | Sequence[Cancel]
    timeouts: Timeouts
    idempotency: str
    middleware: Sequence[Middleware]
    mode: Mode
    max_steps: int


@dataclass(frozen=True, eq=False)
class Function(Generic[D, T_co]):
    """A registered function of an app, as `App.function` returns it. Pass it to `ctx.step.invoke` to call it.

    `Function[D, T]` has event data of type D and a result of type T.
    """

    app_id: str
    id: str
    handler: Handler
    triggers: tuple[Trigger, ...] = ()
    name: str = ""
    retries: Retries = DEFAULT_RETRIES
    cancel_on: tuple[Cancel, ...] = ()
    timeouts: Timeouts = field(default_factory=Timeouts)
    idempotency: str | None = None
    middleware: tuple[Middleware, ...] = ()
    mode: Mode = "step"
    max_steps: int | None = None
    failure_handler: AnyFunction | None = None
    doors: Doors | None = field(default=None, repr=False)
    input: Event[D] | None = None

    @property
    def slug(self) -> str:
        """The full id, as registered: app id and function id."""
        return f"{self.app_id}-{self.id}"

    @functools.cached_property
    def is_async(self) -> bool:
        """Whether the handler is a coroutine function."""
        return inspect.iscoroutinefunction(self.handler) or inspect.iscoroutinefunction(type(self.handler).__call__)

    @property
    def catch_up(self) -> str | None:
        """The policy for missed cron ticks; None if the function has no cron."""
        return next((trigger.catch_up for trigger in self.triggers if isinstance(trigger, Cron)), None)

    def __repr__(self) -> str:
        return f"<Function {self.slug}>"

    async def start(self, data: D | Mapping[str, object] | None = None, *, id: str | None = None) -> RunHandle[T_co]:  # noqa: A002 - public word
        """Start a run of this function, whatever its triggers; returns a handle to the run, without waiting for it.

        Args:
            data: Its event data: a dict or a model; default an empty object.
            id: Identifies the start, at most 1,024 characters: within 24 hours, another start of this function with
                the same id returns the same run. Default: each call starts a run. The retries of a request that was
                not answered never start a second one.

        Works where the app knows a server: the dev server, a deployed stack, or the harness of a test. Raises
        EventMismatchError if `data` does not match its model, RunRefusedError if the server does not know the function
        or its idempotency key has been used, SendError if the server fails or cannot be reached, and ConfigError if the
        app does not know its server.
        """
        started, caller_id, payload = self._started(), _check_start_id(id), self._input(data)
        return await start_request(started, started.waiting(), payload, caller_id)

    def start_sync(self, data: D | Mapping[str, object] | None = None, *, id: str | None = None) -> RunHandle[T_co]:  # noqa: A002 - as above
        """The same as `start`, for code without an event loop; blocks until the run is accepted."""
        started, caller_id, payload = self._started(), _check_start_id(id), self._input(data)
        return step_through(start_request(started, started.blocking(), payload, caller_id))

    def run(self, run_id: str) -> RunHandle[T_co]:
        """A handle to a run of this function that was started before, by its id. Sends no request."""
        return RunHandle(check_text(run_id, "the id of a run"), self._started())

    def _started(self) -> Startable[T_co]:
        return Startable(self.slug, self.doors, adapter_for(returned_type(self.handler)))

    def _input(self, data: object) -> object:
        with Named(f"start of function {self.slug!r}"):
            return input_of(self, data)

    def __call__(self, *_args: object, **_options: object) -> NoReturn:
        """Refuse a direct call: nothing would be durable. Raises ConfigError."""
        raise ConfigError(
            f"function {self.id!r} of app {self.app_id!r} cannot be called directly{here()}: start it with "
            "await function.start(data), send an event that triggers it (await app.send(…)), or call it from another "
            "function with await ctx.step.invoke(id, function, data). In a test, use milepost.testing.Harness"
        )


AnyFunction = Function[Any, object]
"""A function with data and a result of any type."""


def _check_start_id(given: object) -> str | None:
    if given is None:
        return None
    text = check_text(given, "the id of a start")
    if not 0 < len(text) <= MAX_START_ID_CHARS:
        raise BadIdError(
            f"the id of a start has {len(text)} characters: write 1 to {MAX_START_ID_CHARS}, such as an order's number"
        )
    return text


def input_of(function: AnyFunction | FunctionRef[object], data: object) -> object:
    """The data for a function that is called or started by its id, validated by its model if it has exactly one."""
    payload = plain_json({} if data is None else data, f"its call of {function.slug!r}")
    if not isinstance(payload, dict):
        raise ConfigError(f"it got data of type {type(data).__name__}: pass an object (a dict or a model)")
    if isinstance(function, Function):
        declared = (function.input,) if function.input is not None else function.triggers
        typed = [t for t in declared if isinstance(t, Event) and t.model is not None]
        if len(typed) == 1:
            typed[0].validate(cast("dict[str, object]", payload))
    return cast("object", payload)


def check_id(what: str, value: object) -> str:
    """Refuse an id of an app, a function or a webhook that cannot be used in names and addresses (BadIdError)."""
    if not isinstance(value, str) or not _ID.match(value):
        raise BadIdError(
            f"{what} id {value!r} is not valid: use 1–128 letters, digits, '-', '_' or '.', "
            "with a letter or digit at both ends"
        )
    return value


def event_name(event: str | AnyEvent, where: str) -> str:
    """The name of an event to wait for or to cancel on. Raises BadTriggerError for an `Event` with a condition."""
    if not isinstance(event, Event):
        return Event(check_text(event, f"the event of {where}", BadTriggerError)).name
    if event.if_ is not None:
        raise BadTriggerError(f"{where}: {event!r} has an if_, which only triggers use; pass if_= to {where} instead")
    return event.name


def refuse_unknown(where: str, options: Mapping[str, object]) -> None:
    """Refuse options that do not exist; those of flow control with FlowControlUnsupportedError."""
    flow = sorted(_FLOW_CONTROL & options.keys())
    if flow:
        raise FlowControlUnsupportedError(
            f"{where} has the flow-control option {', '.join(flow)}, which this version does not support: "
            "remove it (it is not ignored, because the function would then run in ways that you do not intend)"
        )
    unknown = sorted(options.keys() - FunctionOptions.__annotations__.keys())
    if unknown:
        known = [*FunctionOptions.__annotations__, "id", "input", "trigger", "triggers"]
        raise ConfigError(f"{where} has options that do not exist: {', '.join(unknown)}{nearest(unknown, known)}")


def _check_handler(where: str, handler: Handler) -> None:
    if isinstance(cast("object", handler), Function):
        raise ConfigError(f"{where} decorates {handler!r}, which is registered already: write a function for each")
    if not callable(handler):
        raise ConfigError(f"{where} decorates {handler!r}, which cannot be called")
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise ConfigError(f"{where} is a generator: return the result instead of yielding it")
    try:
        inspect.signature(handler).bind(None)
    except TypeError as error:
        raise ConfigError(
            f"{where} is called with one argument, its context, which does not match its parameters ({error}): "
            "write async def f(ctx: Context) or def f(ctx: SyncContext)"
        ) from None
    except ValueError:
        pass  # a callable written in C may have no signature


def build_function(
    app_id: str,
    id: str,  # noqa: A002 - the public word
    handler: Handler,
    triggers: Sequence[Trigger],
    options: FunctionOptions,
    defaults: FunctionOptions,
    *,
    doors: Doors | None = None,
    input: type[object] | None = None,  # noqa: A002 - the public word
) -> AnyFunction:
    """Check all options and create the function. Raises ConfigError, which names it."""
    where = f"function {id!r} of app {app_id!r}"
    check_id("function", id)
    _check_handler(where, handler)
    checked: FunctionOptions = {**defaults, **options}
    mode = checked.get("mode", "step")
    if mode not in {"step", "checkpoint"}:
        raise ConfigError(f"{where} has mode {mode!r}: write 'step' or 'checkpoint'")
    failure = options.get("on_failure")
    listened = _check_triggers(where, triggers)
    with Named(where):
        name = check_text(checked.get("name") or id, "its name")
        retries = to_retries(checked.get("retries", DEFAULT_RETRIES))
        cancels = _check_cancels(checked.get("cancel_on", ()))
        timeouts = _check_timeouts(checked.get("timeouts"))
        idempotency = _check_key(checked.get("idempotency"))
        middleware = Middlewares(checked.get("middleware", ())).members
        max_steps = _check_max_steps(checked.get("max_steps"))
        brought = _check_input(input, listened)
    function = Function(
        app_id=app_id,
        id=id,
        handler=handler,
        triggers=listened,
        name=name,
        retries=retries,
        cancel_on=cancels,
        timeouts=timeouts,
        idempotency=idempotency,
        middleware=middleware,
        mode=mode,
        max_steps=max_steps,
        doors=doors,
        input=brought,
        failure_handler=_failure_function(app_id, id, failure, options, defaults) if failure is not None else None,
    )
    check_paths(function)
    return function


def check_paths(function: AnyFunction) -> None:
    """Check the paths that a function uses against the models of its events. Raises BadTriggerError, which names it.

    A model whose types are not all defined yet is checked when the app is registered.
    """
    with Named(f"function {function.id!r} of app {function.app_id!r}"):
        for cancel in function.cancel_on:
            if cancel.match is not None:
                with Named(f"Cancel({event_name(cancel.event, 'Cancel')!r})"):
                    check_match(cancel.match, cancel.event, function.triggers)
        if function.idempotency is not None:
            check_key(function.idempotency, function.triggers)


def _failure_function(
    app_id: str, function_id: str, handler: Handler, options: FunctionOptions, defaults: FunctionOptions
) -> AnyFunction:
    """The function that is called when a run of another function has failed."""
    trigger = Event("inngest/function.failed", if_=f"event.data.function_id == '{app_id}-{function_id}'")
    own: FunctionOptions = {"name": f"{options.get('name') or function_id} (failure)"}
    if "middleware" in options:
        own["middleware"] = options["middleware"]
    return build_function(app_id, f"{function_id}-failure", handler, [trigger], own, defaults)


def _check_triggers(where: str, triggers: Sequence[Trigger]) -> tuple[Trigger, ...]:
    checked = tuple(triggers)
    if len(checked) > MAX_TRIGGERS:
        raise BadTriggerError(f"{where} has {len(checked)} triggers; at most {MAX_TRIGGERS} are allowed")
    for trigger in cast("tuple[object, ...]", checked):
        if not isinstance(trigger, Event | Cron):
            raise BadTriggerError(
                f"{where} has the trigger {trigger!r}: write Event('order/created') or Cron('0 8 * * *')"
            )
    crons = [trigger for trigger in checked if isinstance(trigger, Cron)]
    lines = [cron.wire_line for cron in crons]
    if len(set(lines)) < len(lines):
        raise BadTriggerError(f"{where} has the same cron line twice")
    if len({cron.catch_up for cron in crons}) > 1:
        raise BadTriggerError(
            f"{where} has crons with different catch_up: a function has one policy, so split it in two"
        )
    return checked


def _check_input(model: type[object] | None, triggers: Sequence[Trigger]) -> Event[object] | None:
    """The model of a function that is only invoked or started, as the event that such a run gets."""
    if model is None:
        return None
    if triggers:
        raise ConfigError(
            "it has input= and a trigger: input= is for functions that are only invoked or started; give the model to "
            "the trigger, Event(name, Model)"
        )
    return Event(EventName.INVOKED.value, model)


def _check_cancels(cancels: Cancel | Sequence[Cancel]) -> tuple[Cancel, ...]:
    given = cast("object", [cancels] if isinstance(cancels, Cancel) else cancels)
    checked = tuple(cast("Sequence[object]", given)) if isinstance(given, Iterable) else (given,)
    if len(checked) > _MAX_CANCELS:
        raise BadTriggerError(f"it has {len(checked)} cancel_on events; at most {_MAX_CANCELS} are allowed")
    if isinstance(given, str) or not all(isinstance(cancel, Cancel) for cancel in checked):
        raise BadTriggerError(
            f"cancel_on is {given!r}: write Cancel('order/cancelled', match='data.order_id'), or several"
        )
    for cancel in cast("tuple[Cancel, ...]", checked):
        cancel.to_wire()
    return cast("tuple[Cancel, ...]", checked)


def _check_timeouts(given: object) -> Timeouts:
    if given is not None and not isinstance(given, Timeouts):
        raise ConfigError(f"timeouts are {given!r}: write Timeouts(start='1h', finish='1d')")
    return given or Timeouts()


def _check_max_steps(given: object) -> int | None:
    return None if given is None else _whole("max_steps", given, MAX_STEPS_CEILING)


def check_max_chain(given: object) -> int:
    """The longest chain of events of an app. Raises ConfigError for anything but a whole number from 1 up."""
    return _whole("max_chain", given, MAX_CHAIN_CEILING)


def _whole(what: str, given: object, most: int) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= most:
        raise ConfigError(f"{what} is {given!r}: write a whole number from 1 to {most}")
    return given


def _check_key(given: object) -> str | None:
    if given is not None and not check_text(given, "idempotency").strip():
        raise ConfigError("idempotency is empty: write an expression such as 'event.data.id'")
    return cast("str | None", given)
