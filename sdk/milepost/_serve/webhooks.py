"""Webhooks: signed requests of other services, turned into events by your code.

The server hands on the request as it came. Here its signature is checked over the bytes that travelled, before
anything of them is read; then your function makes events of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic_core import from_json

from milepost._declare.function import check_id
from milepost._values.web import json_response
from milepost.errors import ConfigError, RequestError

from .signatures import HEADERS, Provider, flaw

if TYPE_CHECKING:
    from milepost._values.events import Sendable
    from milepost.protocol import Request, Response

    from .settings import AppSettings

__all__ = ["Webhook", "WebhookHandler", "WebhookRequest", "build_webhook"]

_DELIVERY_HEADERS: Final = ("x-github-delivery", "webhook-id", "x-delivery-id")
_MAX_DELIVERY: Final = 200


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A request whose signature is right. Header names are lower case; `json` is the body's value."""

    headers: Mapping[str, str]
    body: bytes
    json: Any


WebhookHandler = Callable[
    [WebhookRequest], "Sendable | Sequence[Sendable] | Awaitable[Sendable | Sequence[Sendable] | None] | None"
]
"""Makes events of a request: one, several, or None for what does not matter to you."""


@dataclass(frozen=True, eq=False)
class Webhook:
    """A webhook of an app: what `App.webhook` makes of your code."""

    app_id: str
    name: str
    handler: WebhookHandler
    provider: Provider
    header: str
    secrets: Callable[[], Sequence[str]]
    where_secret: str

    @property
    def what(self) -> str:
        return f"webhook {self.name!r} of app {self.app_id!r}"

    async def receive(self, request: Request, settings: AppSettings) -> Response:
        """Check and read a request; the answer carries the events. Raises RequestError when it is refused."""
        self._verify(request, settings.now())
        try:
            value = from_json(request.body, allow_inf_nan=False)
        except ValueError as error:
            message = f"{self.what}: the body is not JSON ({error})"
            raise RequestError(message, code="webhook_unreadable") from None
        given = WebhookRequest(request.headers, request.body, value)
        try:
            events = await self._events(given, settings)
        except Exception as error:
            settings.logger().exception("milepost: %s could not read a request", self.what)
            message = f"{self.what} could not read the payload: {type(error).__name__}: {error}"
            raise RequestError(message, status=422, code="webhook_unreadable") from error
        return json_response(200, {"events": events})

    def _verify(self, request: Request, now: datetime) -> None:
        secrets = [secret for secret in self.secrets() if secret]
        if not secrets:
            raise RequestError(
                f"{self.what} has no secret to check signatures with: set {self.where_secret}",
                status=500, code="webhook_secret_missing",
            )  # fmt: skip
        given = request.headers.get(self.header, "")
        wrong = flaw(self.provider, given, request.body, secrets, now) if given else "is missing"
        if wrong:
            raise RequestError(f"{self.what}: the {self.header} header {wrong}", status=401, code="webhook_signature")

    async def _events(self, given: WebhookRequest, settings: AppSettings) -> list[Mapping[str, Any]]:
        from milepost._values.events import wire_event  # noqa: PLC0415 - only where a webhook is received
        from milepost.middleware import call_and_wait  # noqa: PLC0415

        made = await self._call(given)
        if made is None:
            return []
        if isinstance(made, str | bytes):
            raise ConfigError(f"{self.what} returned text: return Event.create(…), {{'name': …}}, a list or None")
        listed = cast("Sequence[Sendable]", made if isinstance(made, Sequence) else [made])
        wired: list[Mapping[str, Any]] = [wire_event(event) for event in listed]
        if settings.middlewares:
            hook = "before_send_events"
            wired = list(await settings.middlewares.transform(call_and_wait, hook, cast("Sequence[Any]", wired)))
        delivery = self._delivery(given)
        if delivery:
            # Senders repeat what they think was lost: the same delivery starts nothing twice.
            ids = (f"{self.app_id}/{self.name}/{delivery}/{place}" for place in range(len(wired)))
            wired = [{"id": id_, **event} for id_, event in zip(ids, wired, strict=True)]
        return wired

    async def _call(self, given: WebhookRequest) -> object:
        import asyncio  # noqa: PLC0415 - 30 ms that an importing module need not pay
        import inspect  # noqa: PLC0415

        if inspect.iscoroutinefunction(self.handler):
            return await self.handler(given)
        # It may block, and must not hold up what else is served.
        return await asyncio.to_thread(self.handler, given)

    def _delivery(self, given: WebhookRequest) -> str:
        """What the sender calls this delivery, if it says so."""
        if self.provider == "stripe":
            told: object = given.json
            id_ = cast("Mapping[str, object]", told).get("id") if isinstance(told, Mapping) else None
            return str(id_ or "")[:_MAX_DELIVERY]
        return next((found[:_MAX_DELIVERY] for name in _DELIVERY_HEADERS if (found := given.headers.get(name))), "")


def build_webhook(
    app_id: str,
    name: str,
    handler: WebhookHandler,
    *,
    provider: Provider,
    secret: str | None,
    secret_env: str | None,
    header: str | None,
    read_secrets: Callable[[str], Sequence[str]],
) -> Webhook:
    """Check everything and make the webhook. Raises a ConfigError that names it."""
    check_id("webhook", name)
    where = f"webhook {name!r} of app {app_id!r}"
    if provider not in HEADERS:
        raise ConfigError(f"{where} has provider {provider!r}: write one of {', '.join(map(repr, HEADERS))}")
    if (secret is None) == (secret_env is None):
        raise ConfigError(f"{where} needs secret_env, the name of an environment variable, or secret: one of them")
    if header is not None and provider != "generic":
        raise ConfigError(f"{where} has a header, but {provider!r} has its own: leave it out")
    if not callable(handler):
        raise ConfigError(f"{where} decorates {handler!r}, which cannot be called")
    env = secret_env or ""
    return Webhook(
        app_id,
        name,
        handler,
        provider,
        (header or HEADERS[provider]).lower(),
        (lambda: read_secrets(env)) if secret is None else (lambda: (secret,)),
        env or "secret=",
    )
