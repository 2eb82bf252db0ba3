"""The app: a named set of functions served together."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Unpack, cast, overload

from pydantic_core import to_json

from ._declare.function import Function, FunctionOptions, Mode, build_function, check_id, refuse_unknown
from ._declare.retries import DEFAULT_RETRIES, Retries, to_retries
from ._declare.triggers import Cron, Event, Trigger, list_triggers
from ._send.sender import EventSender
from ._serve.manifest import registration
from ._serve.server import Server
from ._serve.settings import AppSettings
from ._serve.signatures import Provider
from ._serve.webhooks import Webhook, WebhookHandler, build_webhook
from ._values.current import Named
from ._values.durations import Duration, retention_duration, to_duration
from ._wiring import read_secrets, utc_now, wire
from .errors import ConfigError, DuplicateFunctionError, SendError
from .middleware import Middleware, Middlewares, call_and_wait

if TYPE_CHECKING:
    import logging
    from contextlib import AbstractContextManager

    from milepost.protocol import Request, Response

    from ._replay.context import Context, SyncContext
    from ._replay.execute import Checkpointer, RunStateStore
    from ._send.sender import Transport
    from ._serve.asgi import AsgiApp
    from ._serve.aws_lambda import LambdaHandler
    from ._values.events import Sendable

__all__ = ["App", "FunctionDecorator"]

T = TypeVar("T")
D = TypeVar("D")


class FunctionDecorator(Protocol[D]):
    """What `App.function(…)` gives: put it on `async def f(ctx: Context)` or `def f(ctx: SyncContext)`."""

    @overload
    def __call__(self, handler: Callable[[Context[D]], Coroutine[Any, Any, T]], /) -> Function[D, T]: ...
    @overload
    def __call__(self, handler: Callable[[SyncContext[D]], T], /) -> Function[D, T]: ...


class App:
    """A named set of functions served together.

    Args:
        id: Name of the app; part of its functions' full ids.
        version: Shown with each registration; the commit, for example.
        middleware: For all functions and all sent events.
        retries: Policy of functions that have none of their own; 4 retries by default.
        mode: `"step"`: one step in each invocation. `"checkpoint"`: as many as fit `checkpoint_budget`, each saved
            before the next begins. For functions that do not say.
        signing_key: Calls must be signed with it (unless in dev mode); MILEPOST_SIGNING_KEY by default.
        event_key: Names the sender of events; MILEPOST_EVENT_KEY by default.
        transport: Where events go; by default MILEPOST_EVENT_URL over HTTP.
        dev: True, or the address of a dev server: nothing is verified. MILEPOST_DEV by default.
        retention: How long its runs and the events that start them are kept, 1 to 366 days; by default as long as the
            place keeps them, 30 days.
        checkpoint_budget: In checkpoint mode no further step begins after so long; 10 s by default.
        logger: Written to by `ctx.logger` and by Milepost; `milepost.<id>` by default.
        now: The clock.

    Raises a ConfigError for what cannot be.
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
        checkpoint_budget: Duration = 10,
        logger: logging.Logger | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.id = check_id("app", id)
        self.version = version
        with Named(f"app {id!r}"):
            middlewares = Middlewares(middleware)
            budget = to_duration(checkpoint_budget, "checkpoint_budget")
            keeps = None if retention is None else retention_duration(retention, "retention")
            policy = to_retries(retries)
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
            retention=keeps,
            budget=budget,
            now=now,
            logger=lambda: logger or _logger(id),
        )
        self._defaults: FunctionOptions = {"retries": policy, "mode": mode}
        self._functions: dict[str, Function[Any, Any]] = {}
        self._sender = EventSender(wiring.transport, self._settings.middlewares, now, given=transport is not None)
        self._webhooks: dict[str, Webhook] = {}
        self._server = Server(self._settings, self._functions, self._webhooks, self._sender)

    def __repr__(self) -> str:
        return f"<App {self.id} with {len(self._functions)} functions>"

    @property
    def functions(self) -> Mapping[str, Function[Any, Any]]:
        """The functions by full id, failure handlers included."""
        return dict(self._functions)

    @overload
    def function(self, *, id: str, trigger: Event[D], **options: Unpack[FunctionOptions]) -> FunctionDecorator[D]: ...
    @overload
    def function(
        self, *, id: str, trigger: Cron | str, **options: Unpack[FunctionOptions]
    ) -> FunctionDecorator[dict[str, Any]]: ...
    @overload
    def function(
        self, *, id: str, triggers: Sequence[Trigger | str] = (), **options: Unpack[FunctionOptions]
    ) -> FunctionDecorator[Any]: ...
    def function(
        self,
        *,
        id: str,  # noqa: A002 - the public word
        trigger: Trigger | str | None = None,
        triggers: Sequence[Trigger | str] | None = None,
        **options: Unpack[FunctionOptions],
    ) -> FunctionDecorator[Any]:
        """Register a function: a decorator for `async def f(ctx: Context)` or `def f(ctx: SyncContext)`.

        Args:
            id: Name of the function within the app; runs remember it, so keep it.
            trigger: What starts it: an `Event` or a `Cron`; a text is the name of an event. With an `Event` that has
                a model, `ctx` is `Context[Model]`.
            triggers: Several, at most 10; none for a function that is only invoked.
            **options: `name`, shown instead of the id; `retries`, a number or `Retries`; `on_failure`, a function that
                runs when a run has failed; `cancel_on`, one `Cancel` or 2–5; `timeouts`; `idempotency`, an expression:
                events with the same value start one run in 24 hours; `middleware`; `mode`.

        Raises a ConfigError that names the function, also for options that this version does not support.
        """
        refuse_unknown(f"function {id!r} of app {self.id!r}", options)
        if trigger is not None and triggers is not None:
            raise ConfigError(f"function {id!r} of app {self.id!r} has both trigger and triggers: use one")
        with Named(f"function {id!r} of app {self.id!r}"):
            listed = list_triggers(trigger if trigger is not None else triggers)

        def register(handler: Callable[[Any], Any]) -> Function[Any, Any]:
            function = build_function(self.id, id, handler, listed, options, self._defaults)
            self._register(function)
            if function.failure_handler is not None:
                self._register(function.failure_handler)
            return function

        return cast("FunctionDecorator[Any]", register)

    def _register(self, function: Function[Any, Any]) -> None:
        if function.slug in self._functions:
            raise DuplicateFunctionError(
                f"app {self.id!r} has two functions with the id {function.id!r}: give one another id"
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
        """Register a webhook: a decorator for `def f(request: WebhookRequest)`, plain or async, that makes events.

        Args:
            name: The last part of its address, `POST <server>/webhooks/<name>`.
            provider: Whose signatures are checked: `"stripe"`, `"github"`, or `"generic"`, HMAC-SHA256 in hex.
            secret_env: Name of the environment variable with the secret; several, with commas, while they change.
            secret: The secret itself, instead.
            header: Name of a generic signature's header; `x-signature` by default.

        What your function returns (an event, a list, or None for nothing) is sent; what it raises refuses the
        request. A repeated delivery starts nothing twice where the sender names its deliveries. Raises a ConfigError.
        """

        def register(handler: WebhookHandler) -> Webhook:
            webhook = build_webhook(
                self.id, name, handler,
                provider=provider, secret=secret, secret_env=secret_env, header=header, read_secrets=read_secrets,
            )  # fmt: skip
            if name in self._webhooks:
                raise ConfigError(f"app {self.id!r} has two webhooks with the name {name!r}: give one another name")
            self._webhooks[name] = webhook
            return webhook

        return register

    async def send(self, events: Sendable | Sequence[Sendable]) -> list[str]:
        """Send one event or several (requests of up to 5 000); gives their ids in order.

        An event is made by `Event.create`, or a mapping with `name` and `data`. Raises SendError when the server
        could not be reached, EventRefusedError when it does not take an event, PayloadTooLargeError over 3 MiB.
        """
        import asyncio  # noqa: PLC0415 - 30 ms that an importing module need not pay

        return await self._sender.send(events, call=call_and_wait, hand_over=asyncio.to_thread)

    def send_sync(self, events: Sendable | Sequence[Sendable]) -> list[str]:
        """The same as `send`, for code without an event loop; blocks until the events are handed over."""
        from ._send.sync import send_now  # noqa: PLC0415 - as above

        return send_now(self._sender, events)

    def default_transport(self, transport: Transport) -> AbstractContextManager[None]:
        """For tests: `with app.default_transport(…)` sends events there, instead of where the environment says.

        A transport that was given to `App` is kept. `milepost.testing.Harness` uses it, so that what functions send
        comes to its engine.
        """
        return self._sender.default(transport)

    async def handle(
        self,
        request: Request,
        *,
        checkpointer: Checkpointer | None = None,
        state_store: RunStateStore | None = None,
        budget: timedelta | None = None,
    ) -> Response:
        """Serve one request of a server, whatever carried it.

        Args:
            request: PUT registers the app, GET tells of it, POST calls a function.
            checkpointer: Takes finished steps in checkpoint mode; called on the caller's event loop.
            state_store: Loads what was too large for the call; without it the app asks its server over HTTP.
            budget: Overrides `checkpoint_budget`, when the process has less time left.
        """
        return await self._server.handle(request, checkpointer, state_store, budget)

    def manifest(self, serve_url: str) -> dict[str, object]:
        """The registration of the app: what `POST /fn/register` carries, as a JSON object."""
        return registration(self._settings, self._functions.values(), serve_url, self._webhooks)

    def register(self, serve_url: str) -> None:
        """Register at MILEPOST_API_URL an app that is served at this address; blocks. Call it at each deployment.

        Raises SendError when it is refused or nobody answers, ConfigError when MILEPOST_API_URL is not set.
        """
        api = self._settings.api
        if api is None:
            raise ConfigError(f"app {self.id!r} does not know where to register: set MILEPOST_API_URL")
        reply = api.request("POST", "/fn/register", to_json(self.manifest(serve_url)))
        if reply.status != 200:
            said = reply.body[:2000].decode("utf-8", "replace")
            raise SendError(f"app {self.id!r} was not registered at {api.base_url}: HTTP {reply.status}: {said}")

    def asgi(self) -> AsgiApp:
        """The app as ASGI application: serve it, or mount it under a path."""
        from ._serve.asgi import asgi_app  # noqa: PLC0415 - only where it is served so

        return asgi_app(self)

    def lambda_handler(self, state_store: Callable[[str, str], RunStateStore] | None = None) -> LambdaHandler:
        """The app as Lambda handler, for `lambda:Invoke` and Function URLs: `handler = app.lambda_handler()`.

        `state_store` makes, for the ids of a run and its function, what reaches the run's store directly. `MilepostApp`
        sets it; without one, checkpoint mode hands its steps over at the end of each invocation.
        """
        from ._serve.aws_lambda import lambda_handler  # noqa: PLC0415 - only where it is served so

        return lambda_handler(self, state_store)


@functools.lru_cache
def _logger(app_id: str) -> logging.Logger:
    import logging  # noqa: PLC0415 - 6 ms that an importing module need not pay

    return logging.getLogger(f"milepost.{app_id}")
