"""The app: a named set of functions that are served together."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Unpack, overload

from pydantic_core import to_json

from ._declare.function import (
    AnyFunction,
    Function,
    FunctionOptions,
    Handler,
    Mode,
    build_function,
    check_id,
    check_max_chain,
    refuse_unknown,
)
from ._declare.retries import DEFAULT_RETRIES, Retries, to_retries
from ._declare.triggers import Cron, Event, Trigger, list_triggers
from ._send.doors import AppDoors
from ._send.sender import EventSender
from ._serve.endpoint import Endpoint
from ._serve.manifest import registration
from ._serve.settings import AppSettings
from ._serve.signatures import Provider
from ._serve.webhooks import Webhook, WebhookHandler, build_webhook
from ._values.current import Named
from ._values.durations import Duration, retention_duration, to_duration
from ._values.json_types import EventData
from ._wiring import read_secrets, utc_now, wire
from .errors import ConfigError, DuplicateFunctionError, SendError
from .middleware import Middleware, Middlewares, call_and_wait
from .protocol import MAX_CHAIN_DEFAULT

if TYPE_CHECKING:
    import logging
    from contextlib import AbstractContextManager

    from ._replay.context import Context, SyncContext
    from ._replay.execute import Checkpointer, RunStateStore
    from ._replay.rehearsal import Rehearsal
    from ._send.sender import Transport
    from ._serve.asgi import AsgiApp
    from ._serve.aws_lambda import LambdaHandler
    from ._values.events import Sendable
    from .protocol import Request, Response

__all__ = ["App", "FunctionDecorator"]

T = TypeVar("T")
D = TypeVar("D")
D_fn = TypeVar("D_fn")


class FunctionDecorator(Protocol[D_fn]):
    """The decorator that `App.function(…)` returns, for `async def f(ctx: Context)` or `def f(ctx: SyncContext)`."""

    @overload
    def __call__(self, handler: Callable[[Context[D_fn]], Coroutine[object, None, T]], /) -> Function[D_fn, T]: ...
    @overload
    def __call__(self, handler: Callable[[SyncContext[D_fn]], T], /) -> Function[D_fn, T]: ...


class App:
    """A named set of functions that are served together.

    Args:
        id: Name of the app, part of its functions' full ids: 1–128 letters, digits, `-`, `_` and `.`, with a letter or
            digit at both ends.
        version: Shown with each registration, for example the commit; default None.
        middleware: Applied to all functions and all sent events.
        retries: Policy of functions that do not set their own: a number of retries or `Retries`; default 4 retries.
        mode: Mode of functions that do not set their own. `"step"` (default): one step per invocation. `"checkpoint"`:
            as many steps as fit in `checkpoint_budget`, each saved before the next starts.
        signing_key: Calls must be signed with it, except in dev mode; default MILEPOST_SIGNING_KEY.
        event_key: Identifies the sender of events; default MILEPOST_EVENT_KEY.
        transport: Where events are sent; default MILEPOST_EVENT_URL or the dev server, over HTTP, else the EventBridge
            bus MILEPOST_EVENT_BUS.
        dev: True or the address of a dev server turns on dev mode: signatures are not verified. Default MILEPOST_DEV.
        retention: How long the app's runs and the events that start them are kept, 1 to 366 days; by default as long
            as the server keeps them, 30 days.
        max_chain: The longest chain of events in which each started a run that sent the next, by default 50: functions
            that start each other in a circle are stopped there. A run that takes more than ten minutes begins a new
            chain.
        checkpoint_budget: In checkpoint mode no further step starts after this time; default 10 s.
        logger: Where `ctx.logger` and Milepost write; default `milepost.<id>`.
        now: The clock: returns an aware datetime.

    Raises ConfigError if an argument or one of the environment variables is not valid.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - the public word
        *,
        version: str | None = None,
        middleware: Sequence[Middleware] = (),
        retries: Retries | int = DEFAULT_RETRIES,
        mode: Mode = "step",
        signing_key: str | None = None,
        event_key: str | None = None,
        transport: Transport | None = None,
        dev: bool | str | None = None,
        retention: Duration | None = None,
        max_chain: int = MAX_CHAIN_DEFAULT,
        checkpoint_budget: Duration = 10,
        logger: logging.Logger | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.id = check_id("app", id)
        self.version = version
        with Named(f"app {id!r}"):
            middlewares = Middlewares(middleware)
            budget = to_duration(checkpoint_budget, "checkpoint_budget")
            kept_for = None if retention is None else retention_duration(retention, "retention")
            policy = to_retries(retries)
            longest_chain = check_max_chain(max_chain)
        wiring = wire(dev=dev, transport=transport, event_key=event_key, signing_key=signing_key)
        self._settings = AppSettings(
            app_id=id,
            version=version,
            dev=wiring.dev,
            event_key=wiring.event_key,
            signing_key=wiring.signing_key,
            fallback_key=wiring.fallback_key,
            api=wiring.api,
            middlewares=middlewares,
            retention=kept_for,
            budget=budget,
            max_chain=longest_chain,
            now=now,
            logger=lambda: logger or _logger(id),
        )
        self._defaults: FunctionOptions = {"retries": policy, "mode": mode}
        self._functions: dict[str, AnyFunction] = {}
        self._sender = EventSender(
            wiring.transport,
            self._settings.middlewares,
            now,
            given=transport is not None,
            max_chain=longest_chain,
            logger=self._settings.logger,
        )
        self._doors = AppDoors(wiring.runs, self._sender)
        self._webhooks: dict[str, Webhook] = {}
        self._endpoint = Endpoint(self._settings, self._functions, self._webhooks, self._sender)

    def __repr__(self) -> str:
        return f"<App {self.id} with {len(self._functions)} functions>"

    @property
    def functions(self) -> Mapping[str, AnyFunction]:
        """The functions by full id (app id and function id), failure handlers included."""
        return dict(self._functions)

    @overload
    def function(self, *, id: str, trigger: Event[D], **options: Unpack[FunctionOptions]) -> FunctionDecorator[D]: ...
    @overload
    def function(
        self, *, id: str, trigger: Cron | str, **options: Unpack[FunctionOptions]
    ) -> FunctionDecorator[EventData]: ...
    @overload
    def function(self, *, id: str, input: type[D], **options: Unpack[FunctionOptions]) -> FunctionDecorator[D]: ...
    @overload
    def function(
        self, *, id: str, triggers: Sequence[Trigger | str] = (), **options: Unpack[FunctionOptions]
    ) -> FunctionDecorator[Any]: ...
    def function(
        self,
        *misplaced: object,
        id: str | None = None,  # noqa: A002 - the public word
        trigger: Trigger | str | None = None,
        triggers: Sequence[Trigger | str] | None = None,
        input: type[object] | None = None,  # noqa: A002 - as above
        **options: Unpack[FunctionOptions],
    ) -> object:
        """Register a function: a decorator for `async def f(ctx: Context)` or `def f(ctx: SyncContext)`.

        Args:
            *misplaced: Refused: all arguments are given by keyword.
            id: Name of the function within the app; runs refer to it, so do not change it.
            trigger: What starts the function: an `Event`, a `Cron`, or a string, the name of an event. With an `Event`
                that has a model, `ctx` is `Context[Model]`.
            triggers: Several triggers, at most 10; an empty list for a function that is only invoked.
            input: The model of the data of a function without triggers, which is only invoked or started: `ctx` is
                `Context[Model]`, and callers are checked against it.
            **options: `name`, shown instead of the id; `retries`, a number or `Retries`; `on_failure`, a function that
                is called when a run has failed; `cancel_on`, one `Cancel` or up to 5; `timeouts`; `idempotency`, an
                expression: events with the same value start only one run in 24 hours, and one without a value always
                starts one; `middleware`; `mode`; `max_steps`, the most steps of a run
                (default 10,000, at most 100,000): with one more, the run fails.

        Raises ConfigError, which names the function, for an invalid value or an option that this version does not
        support.
        """
        if misplaced or id is None:
            raise ConfigError(_how_to_declare(self.id, misplaced, options))
        refuse_unknown(f"function {id!r} of app {self.id!r}", options)
        if trigger is not None and triggers is not None:
            raise ConfigError(f"function {id!r} of app {self.id!r} has both trigger and triggers: use one")
        with Named(f"function {id!r} of app {self.id!r}"):
            listed = list_triggers(trigger if trigger is not None else triggers)

        def register(handler: Handler) -> AnyFunction:
            function = build_function(
                self.id, id, handler, listed, options, self._defaults, doors=self._doors, input=input
            )
            self._register(function)
            if function.failure_handler is not None:
                self._register(function.failure_handler)
            return function

        return register

    def _register(self, function: AnyFunction) -> None:
        if function.slug in self._functions:
            raise DuplicateFunctionError(
                f"app {self.id!r} has two functions with the id {function.id!r}: change one of the ids"
            )
        self._functions[function.slug] = function

    def webhook(
        self,
        name: str,
        *,
        provider: Provider = "generic",
        secret_env: str | None = None,
        secret: str | None = None,
        header: str | None = None,
    ) -> Callable[[WebhookHandler], Webhook]:
        """Register a webhook: a decorator for `def f(request: WebhookRequest)`, plain or async, that returns events.

        Args:
            name: The last part of its address, `POST <server>/webhooks/<name>`.
            provider: How requests are signed: `"stripe"`, `"github"`, or `"generic"` (default), HMAC-SHA256 in hex.
            secret_env: Name of the environment variable with the secret; separate several by commas to rotate them.
            secret: The secret itself, instead of `secret_env`.
            header: Name of the header with a generic signature; default `x-signature`.

        The events that your function returns (one, a list, or None for none) are sent; an error rejects the request
        with status 422. If the sender gives its deliveries an id, a repeated delivery within 24 hours starts no second
        run. Raises ConfigError for an invalid argument or a name that is already used.
        """

        def register(handler: WebhookHandler) -> Webhook:
            webhook = build_webhook(
                self.id, name, handler,
                provider=provider, secret=secret, secret_env=secret_env, header=header, read_secrets=read_secrets,
            )  # fmt: skip
            if name in self._webhooks:
                raise ConfigError(f"app {self.id!r} has two webhooks with the name {name!r}: rename one of them")
            self._webhooks[name] = webhook
            return webhook

        return register

    async def send(self, events: Sendable | Sequence[Sendable]) -> list[str]:
        """Send one event or several, in requests of up to 5,000 and 4 MiB; returns their ids in order.

        An event is the result of `Event.create`, or a mapping with `name` and `data`. Raises SendError if the server
        cannot be reached, EventRefusedError if it refuses an event, PayloadTooLargeError for an event over 3 MiB, and
        ConfigError if an event is not valid or the app has no transport.
        """
        import asyncio  # noqa: PLC0415 - takes 30 ms, needed only here

        return await self._sender.send(events, call=call_and_wait, hand_over=asyncio.to_thread)

    def send_sync(self, events: Sendable | Sequence[Sendable]) -> list[str]:
        """The same as `send`, for code without an event loop; blocks until the events are accepted."""
        from ._send.sync import send_now  # noqa: PLC0415 - as above

        return send_now(self._sender, events)

    def default_transport(self, transport: Transport) -> AbstractContextManager[None]:
        """For tests: inside `with app.default_transport(…)`, events go there instead of where the environment says.

        A transport passed to `App` still takes precedence. `milepost.testing.Harness` uses this method, so that events
        from functions reach its engine.
        """
        return self._sender.default(transport)

    async def handle(
        self,
        request: Request,
        *,
        checkpointer: Checkpointer | None = None,
        state_store: RunStateStore | None = None,
        budget: timedelta | None = None,
        rehearsal: Rehearsal | None = None,
        authenticated: bool = False,
    ) -> Response:
        """Answer one request from a server, over any transport; every error becomes a response.

        Args:
            request: PUT registers the app, GET describes it, POST calls a function or delivers a webhook.
            checkpointer: Saves finished steps in checkpoint mode; called on the caller's event loop. Default: the
                server's checkpoint endpoint, if it offers one.
            state_store: Loads state that was too large for the call; default: the server's API over HTTP.
            budget: Overrides `checkpoint_budget`, for example if the process has less time left.
            rehearsal: A test harness that replaces steps and learns where the code is; default None. Its calls need no
                signature.
            authenticated: True if your transport has authenticated the caller, as IAM does before it invokes a Lambda.
                By default nobody has: without a signing key, and outside of dev mode, PUT and calls are then refused
                with status 500 and the code `signing_key_missing`. With a signing key, requests must be signed anyway.
        """
        return await self._endpoint.handle(
            request, checkpointer, state_store, budget, rehearsal, authenticated=authenticated
        )

    def manifest(self, serve_url: str) -> dict[str, object]:
        """The registration of the app as a JSON object: the body of `POST /fn/register`.

        Args:
            serve_url: The address at which the app is served.
        """
        return registration(self._settings, self._functions.values(), serve_url, self._webhooks)

    def register(self, serve_url: str) -> None:
        """Register the app, served at `serve_url`, at MILEPOST_API_URL; blocks. Call it at each deployment.

        Raises SendError if the server refuses the app or cannot be reached, ConfigError if no server address is set.
        """
        api = self._settings.api
        if api is None:
            raise ConfigError(f"app {self.id!r} does not know where to register: set MILEPOST_API_URL")
        reply = api.request("POST", "/fn/register", to_json(self.manifest(serve_url)))
        if reply.status != 200:
            problem = reply.body[:2000].decode("utf-8", "replace")
            raise SendError(f"app {self.id!r} was not registered at {api.base_url}: HTTP {reply.status}: {problem}")

    def asgi(self) -> AsgiApp:
        """The app as an ASGI application: serve it, or mount it under a path.

        Without a signing key, and outside of dev mode, it does not start and refuses calls.
        """
        from ._serve.asgi import asgi_app  # noqa: PLC0415 - needed only here

        return asgi_app(self, self._settings.unguarded)

    def mount(self, web: object, path: str = "/api/milepost") -> None:
        """Serve the app at a path of your web application.

        Args:
            web: A FastAPI or Starlette application, a Flask application or blueprint, or Django's list `urlpatterns`.
            path: The path, without parameters; a slash at its end makes no difference, and no redirect.

        Calls are checked as by `asgi()`: without a signing key, and outside of dev mode, each is refused with status
        500 and the code `signing_key_missing`, and a warning is logged now. Raises ConfigError for another object or
        a path that is not one.
        """
        from ._serve.mounting import mount_app  # noqa: PLC0415 - needed only here

        mount_app(self, f"milepost-{self.id}", web, path)
        if unguarded := self._settings.unguarded:
            self._settings.logger().warning("milepost: %s", unguarded)

    def lambda_handler(self, state_store: Callable[[str, str, str], RunStateStore] | None = None) -> LambdaHandler:
        """The app as a Lambda handler, for `lambda:Invoke` and Function URLs: `handler = app.lambda_handler()`.

        IAM authenticates Milepost's invocations, and the requests to a Function URL or an HTTP API with IAM
        authorization. Others are refused unless the app has a signing key.

        Args:
            state_store: Makes the `RunStateStore` of a run from the ids of the run and its function and the claim of
                the call. The CDK construct `MilepostApp` sets it up. Default None: checkpoint mode then needs the
                server's checkpoint endpoint, and without that returns its steps at the end of each invocation.
        """
        from ._serve.aws_lambda import lambda_handler  # noqa: PLC0415 - needed only here

        return lambda_handler(self, state_store)


def _how_to_declare(app_id: str, misplaced: Sequence[object], options: Mapping[str, object]) -> str:
    """What to write instead of `@app.function` or `@app.function("id")`."""
    first = misplaced[0] if misplaced else ""
    if callable(first):
        name = str(getattr(first, "__name__", "my-function"))
        seen, made = f"@app.function is written without parentheses above {name!r}", name.replace("_", "-")
    elif misplaced:
        seen, made = f"a function has {first!r} without a keyword", first if isinstance(first, str) else "my-function"
    else:
        seen, made = f"a function with the options {', '.join(options) or 'none'} has no id", "my-function"
    return f"app {app_id!r}: {seen}: write @app.function(id={made!r}, trigger=Event('order/created'))"


@functools.lru_cache
def _logger(app_id: str) -> logging.Logger:
    import logging  # noqa: PLC0415 - takes 6 ms, needed only here

    return logging.getLogger(f"milepost.{app_id}")
