"""The optional HTTP API: events, webhooks, and the endpoints for SDKs of apps outside AWS.

    POST /e/{key}                     events; the key is one of the secret's event keys
    POST /webhooks/{name}             a signed request from another service, verified by the webhook's app
    POST /fn/register                 an HTTP app registers             ┐
    GET  /v0/runs/{id}/actions        a run's steps                     │ Authorization: Bearer <hash of a signing key>
    GET  /v0/runs/{id}/batch          a run's events                    │
    POST /v1/checkpoint/{id}/async    steps of a running invocation     │
    …    /v1/functions/{id}/runs…     start, show and cancel runs       ┘
Keys are compared in constant time and read again every five minutes, so they can be changed without a deployment: put
the new key before the old one, separated by a comma.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Coroutine, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import ServiceError

from milepost.protocol import Header, bearer
from milepost_engine.codec import dumps
from milepost_engine.http.endpoints import Answer, accept_events, register_app, run_events, run_steps, save_checkpoint
from milepost_engine.http.run_endpoints import answer_run_request
from milepost_engine.http.webhooks import WebhookRefused, receive_webhook
from milepost_engine.store.schema import SchemaMismatch

from .metrics import logger
from .wiring import Deployment, MissingVariable, Variable, deployment, traced

__all__ = ["handler"]

_KIND: Final = "cloud"
_KEYS_AGE: Final = timedelta(minutes=5)

routes: Final = APIGatewayHttpResolver()
_known: dict[str, tuple[datetime, list[str]]] = {}


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Called with a request of the HTTP API (payload format 2.0)."""
    return routes.resolve(event, context)


@routes.post("/e/<key>")
def accept(key: str) -> Response[str]:
    """Accept events."""
    here = deployment()
    if not _matches(key, _keys(here, Variable.EVENT_KEY_SECRET, here.event_key_secret)):
        logger.warning("wrong event key")
        return _error(401, "[MP505] The event key is not valid. The valid keys are in the stack's secret EventKey.")
    return _answer(here, accept_events(here.engine, _body(), _header(Header.EVENT_ID_SEED.value)))


@routes.post("/webhooks/<name>")
def receive(name: str) -> Response[str]:
    """Turn a signed request from another service into events."""
    here = deployment()
    headers = {key.lower(): str(value) for key, value in (routes.current_event.headers or {}).items()}
    try:
        ids = here.run(receive_webhook(here.engine, here.invokers, name, headers, _body()))
    except WebhookRefused as refused:
        logger.warning("webhook refused", extra={"webhook": name, "error": str(refused)})
        return _error(refused.status, str(refused))
    return _response(Answer(200, dumps({"ids": ids, "status": 200})))


@routes.post("/fn/register")
def register() -> Response[str]:
    """Register an HTTP app."""
    here = deployment()

    async def registered() -> Answer:
        expected = _header(Header.EXPECTED_SERVER_KIND.value)
        return (await register_app(here.engine, _body(), expected_kind=expected, kind=_KIND))[0]

    return _signed(here, registered())


@routes.get("/v0/runs/<run_id>/actions")
def steps(run_id: str) -> Response[str]:
    """A live run's steps."""
    here = deployment()
    return _signed(here, run_steps(here.engine, run_id))


@routes.get("/v0/runs/<run_id>/batch")
def events(run_id: str) -> Response[str]:
    """A live run's events."""
    here = deployment()
    return _signed(here, run_events(here.engine, run_id))


@routes.post("/v1/checkpoint/<run_id>/async")
def checkpoint(run_id: str) -> Response[str]:
    """Save steps."""
    here = deployment()
    return _signed(here, save_checkpoint(here.engine, run_id, _body()))


@routes.route(r"/v1/functions/.+", method=["GET", "POST"])
def runs() -> Response[str]:
    """Start, show or cancel a run."""
    here, request = deployment(), routes.current_event
    return _signed(here, answer_run_request(here.engine, request.http_method, request.path, _body()))


@routes.exception_handler(SchemaMismatch)  # type: ignore[untyped-decorator]
def mismatch(error: SchemaMismatch) -> Response[str]:
    """Nothing was accepted; the sender should retry."""
    logger.error("schema mismatch", exc_info=error)
    return _error(503, str(error))


@routes.exception_handler(ServiceError)  # type: ignore[untyped-decorator]
def unknown(error: ServiceError) -> Response[str]:
    """No such route."""
    return _error(error.status_code, str(error.msg))


def _signed(here: Deployment, work: Coroutine[Any, Any, Answer]) -> Response[str]:
    given = _header(Header.AUTHORIZATION.value)
    allowed = [bearer(key) for key in _keys(here, Variable.SIGNING_KEY_SECRET, here.signing_key_secret)]
    if not _matches(given, allowed):
        work.close()
        logger.warning("wrong signing key")
        return _error(401, "[MP506] The request is not authorised: configure the app with the stack's SigningKey.")
    return _answer(here, work)


def _answer(here: Deployment, work: Coroutine[Any, Any, Answer]) -> Response[str]:
    async def ready() -> Answer:
        try:
            await here.ready()
        except BaseException:
            work.close()
            raise
        return await work

    return _response(here.run(ready()))


def _response(answer: Answer) -> Response[str]:
    return Response(answer.status, answer.media_type, answer.body.decode(), headers={Header.SERVER_KIND.value: _KIND})


def _error(status: int, message: str) -> Response[str]:
    return _response(Answer(status, dumps({"error": message, "status": status})))


def _keys(here: Deployment, variable: str, secret: str | None) -> list[str]:
    """The keys in a secret, at most five minutes old."""
    if not secret:
        raise MissingVariable(variable)
    now = here.clock.now()
    known = _known.get(secret)
    if known is None or now - known[0] > _KEYS_AGE:
        known = _known[secret] = (now, here.keys(secret))
    return known[1]


def _matches(given: str, allowed: list[str]) -> bool:
    # Compares every key, so that timing reveals neither which key matched nor how much of one.
    fits = [hmac.compare_digest(given.encode(), key.encode()) for key in allowed]
    return any(fits)


def _body() -> bytes:
    """The exact bytes that were sent, because signatures cover them."""
    request = routes.current_event
    raw = request.body or ""
    return base64.b64decode(raw) if request.is_base64_encoded else raw.encode("utf-8", "surrogatepass")


def _header(name: str) -> str:
    headers: Mapping[str, Any] = routes.current_event.headers or {}
    return str(headers.get(name) or "")
