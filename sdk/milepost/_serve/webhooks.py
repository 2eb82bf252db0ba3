"""Webhooks: signed requests of other services, which your code converts to events.

The server forwards the request unchanged. Here its signature is checked over the received bytes, before the body is
parsed; then your function returns the events.
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
    from milepost._values.json_types import JsonObject
    from milepost.protocol import Request, Response

    from .settings import AppSettings

__all__ = ["Webhook", "WebhookHandler", "WebhookRequest", "build_webhook"]

_DELIVERY_HEADERS: Final = ("x-github-delivery", "webhook-id", "x-delivery-id")
_MAX_DELIVERY: Final = 200


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A request with a valid signature.

    Attributes:
        headers: Headers, with names in lower case.
        body: The bytes as received.
        json: The value of the body as JSON.
    """

    headers: Mapping[str, str]
    body: bytes
    json: Any


WebhookHandler = Callable[
    [WebhookRequest], "Sendable | Sequence[Sendable] | Awaitable[Sendable | Sequence[Sendable] | None] | None"
]
"""Converts a request to events: one, several, or None for a request to ignore."""


@dataclass(frozen=True, eq=False)
class Webhook:
    """A registered webhook of an app, as `App.webhook` returns it."""

    app_id: str
    name: str
    handler: WebhookHandler
    provider: Provider
    header: str
    secrets: Callable[[], Sequence[str]]
    secret_source: str
    """What to set for a secret, as errors name it."""

    @property
    def what(self) -> str:
        """The webhook as errors name it."""
        return f"webhook {self.name!r} of app {self.app_id!r}"

    async def receive(self, request: Request, settings: AppSettings) -> Response:
        """Verify and read a request; the response carries the events. Raises RequestError if it is rejected."""
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
                f"{self.what} has no secret to verify signatures with: set {self.secret_source}",
                status=500, code="webhook_secret_missing",
            )  # fmt: skip
        given = request.headers.get(self.header, "")
        wrong = flaw(self.provider, given, request.body, secrets, now) if given else "is missing"
        if wrong:
            raise RequestError(f"{self.what}: the {self.header} header {wrong}", status=401, code="webhook_signature")

    async def _events(self, given: WebhookRequest, settings: AppSettings) -> list[JsonObject]:
        from milepost._values.events import wire_event  # noqa: PLC0415 - needed only to receive a webhook
        from milepost.middleware import call_and_wait  # noqa: PLC0415

        made = await self._call_handler(given)
        if made is None:
            return []
        if isinstance(made, str | bytes):
            raise ConfigError(
                f"{self.what} returned text: return Event.create(…), {{'name': …}}, a list of them, or None"
            )
        listed = cast("Sequence[Sendable]", made if isinstance(made, Sequence) else [made])
        wired: Sequence[JsonObject] = [wire_event(event) for event in listed]
        if settings.middlewares:
            wired = await settings.middlewares.transform(call_and_wait, "before_send_events", wired)
        delivery = self._delivery(given)
        if delivery:
            # Senders repeat a delivery that they consider lost: with the same ids it starts no second run.
            ids = (f"{self.app_id}/{self.name}/{delivery}/{place}" for place in range(len(wired)))
            wired = [{"id": id_, **event} for id_, event in zip(ids, wired, strict=True)]
        return list(wired)

    async def _call_handler(self, given: WebhookRequest) -> object:
        import asyncio  # noqa: PLC0415 - takes 30 ms, needed only here
        import inspect  # noqa: PLC0415

        if inspect.iscoroutinefunction(self.handler):
            return await self.handler(given)
        # It may block, and must not delay other requests.
        return await asyncio.to_thread(self.handler, given)

    def _delivery(self, given: WebhookRequest) -> str:
        """The sender's id of this delivery; empty if it gives none."""
        if self.provider == "stripe":
            body: object = given.json
            id_ = cast("Mapping[str, object]", body).get("id") if isinstance(body, Mapping) else None
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
    """Check all options and create the webhook. Raises ConfigError, which names it."""
    check_id("webhook", name)
    where = f"webhook {name!r} of app {app_id!r}"
    if provider not in HEADERS:
        raise ConfigError(f"{where} has provider {provider!r}: write one of {', '.join(map(repr, HEADERS))}")
    if (secret is None) == (secret_env is None):
        raise ConfigError(f"{where} needs either secret_env, the name of an environment variable, or secret")
    if header is not None and provider != "generic":
        raise ConfigError(f"{where} has a header, but {provider!r} uses its own: remove it")
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
