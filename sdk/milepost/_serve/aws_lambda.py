"""The app as a Lambda handler: requests travel as Function URL events (payload format 2.0)."""

from __future__ import annotations

import asyncio
import atexit
import base64
import functools
import threading
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import parse_qsl

from milepost._values.json_types import JsonObject
from milepost.errors import ConfigError
from milepost.protocol import LAMBDA_API_ID, Header, Request

if TYPE_CHECKING:
    from milepost._replay.execute import RunStateStore

    from .handler import RequestHandler

__all__ = ["LambdaHandler", "budget_of", "lambda_handler", "read_event", "run_on_app_loop"]

T = TypeVar("T")


LambdaHandler = Callable[[JsonObject, object], dict[str, Any]]
"""A handler of Function URL events: `handler(event, context)`."""

_STEP_SHARE: Final = 0.5
"""Share of the remaining time in which further steps may start: the last one needs time to finish."""


def lambda_handler(
    app: RequestHandler, state_store: Callable[[str, str, str], RunStateStore] | None = None
) -> LambdaHandler:
    """A handler for `lambda:Invoke` and Function URLs.

    `state_store` makes the RunStateStore of a run from the ids of the run and its function and the claim of the call.
    """

    def handler(event: JsonObject, context: object = None) -> dict[str, object]:
        request = read_event(event)
        run_id = request.headers.get(Header.RUN_ID.value)
        store = None
        if state_store is not None and run_id:
            store = state_store(run_id, request.query.get("fnId", ""), request.headers.get(Header.CLAIM.value, ""))
        serving = app.handle(
            request,
            checkpointer=store,
            state_store=store,
            budget=budget_of(context),
            authenticated=_is_authenticated(event),
        )
        response = run_on_app_loop(serving)
        text, is_base64 = _encode(response.body)
        return {
            "statusCode": response.status,
            "headers": dict(response.headers),
            "body": text,
            "isBase64Encoded": is_base64,
        }

    return handler


def run_on_app_loop(work: Coroutine[object, None, T]) -> T:
    """Run a coroutine on the event loop that handles requests, for example to share its connections; blocks.

    Never call it on that loop: it would wait for itself.
    """
    return asyncio.run_coroutine_threadsafe(work, _home()).result()


@functools.cache
def _home() -> asyncio.AbstractEventLoop:
    """The event loop that handles requests for the life of the process.

    It has its own thread, so that a handler can be called from anywhere, even from a running loop.
    """
    loop = asyncio.new_event_loop()

    def serve() -> None:
        loop.run_forever()
        loop.close()

    thread = threading.Thread(target=serve, name="milepost-lambda", daemon=True)
    thread.start()

    def end() -> None:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(1)

    atexit.register(end)
    return loop


def budget_of(context: object) -> timedelta | None:
    """Half of the time that Lambda leaves, from the handler's context, if that is under 10 s; else None.

    None means the app's own `checkpoint_budget`.
    """
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    if remaining is None:
        return None
    left = timedelta(milliseconds=float(remaining()) * _STEP_SHARE)
    return left if left < timedelta(seconds=10) else None


def read_event(event: JsonObject) -> Request:
    """The request in a Lambda event. Raises ConfigError if the event is not of payload format 2.0."""
    context: JsonObject = event.get("requestContext") or {}
    http = context.get("http") if isinstance(cast("object", context), Mapping) else None
    if not isinstance(http, Mapping):
        raise ConfigError(
            "the Lambda event is not an HTTP request of payload format 2.0: invoke this function through Milepost, "
            "a Function URL or an HTTP API"
        )
    given: JsonObject = event.get("headers") or {}
    headers = {name.lower(): str(value) for name, value in given.items()}
    body = event.get("body") or ""
    raw = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode("utf-8", "surrogatepass")
    query = dict(parse_qsl(event.get("rawQueryString") or "", keep_blank_values=True))
    host = context.get("domainName") or headers.get("host") or ""
    path = event.get("rawPath") or "/"
    method = str(cast("JsonObject", http).get("method") or "POST")
    return Request(method, query, headers, raw, f"https://{host}{path}" if host else "")


def _is_authenticated(event: JsonObject) -> bool:
    """Whether IAM has authenticated the caller.

    AWS writes the request context of a Function URL or an HTTP API, so that a client cannot choose its API id:
    `milepost` comes from whoever may call lambda:Invoke. With IAM authorization AWS adds who the caller is.
    """
    context: JsonObject = event.get("requestContext") or {}
    authorizer = context.get("authorizer")
    identity = cast("JsonObject", authorizer).get("iam") if isinstance(authorizer, Mapping) else None
    return context.get("apiId") == LAMBDA_API_ID or bool(identity)


def _encode(body: bytes) -> tuple[str, bool]:
    try:
        return body.decode(), False
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), True
