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

from milepost.errors import ConfigError
from milepost.protocol import Header, Request

if TYPE_CHECKING:
    from milepost._replay.execute import RunStateStore

    from .handler import RequestHandler

__all__ = ["LambdaHandler", "budget_of", "lambda_handler", "read_event", "run_on_app_loop"]

T = TypeVar("T")

LambdaHandler = Callable[[Mapping[str, Any], Any], dict[str, Any]]

_SPARE: Final = 0.5
"""Share of the remaining time in which further steps may begin: the last one needs time to end, too."""


def lambda_handler(
    app: RequestHandler, state_store: Callable[[str, str], RunStateStore] | None = None
) -> LambdaHandler:
    """A handler for `lambda:Invoke` and Function URLs. `state_store` makes what reaches a run's store, by the
    ids of the run and its function.
    """

    def handler(event: Mapping[str, Any], context: Any = None) -> dict[str, Any]:
        request = read_event(event)
        run_id = request.headers.get(Header.RUN_ID.value)
        keeps = state_store(run_id, request.query.get("fnId", "")) if state_store is not None and run_id else None
        serving = app.handle(request, checkpointer=keeps, state_store=keeps, budget=budget_of(context))
        response = run_on_app_loop(serving)
        text, is_base64 = _encode(response.body)
        return {
            "statusCode": response.status,
            "headers": dict(response.headers),
            "body": text,
            "isBase64Encoded": is_base64,
        }

    return handler


def run_on_app_loop(work: Coroutine[Any, Any, T]) -> T:
    """Do the work on the loop that requests are handled on, where connections belong to it; to be called elsewhere."""
    return asyncio.run_coroutine_threadsafe(work, _home()).result()


@functools.cache
def _home() -> asyncio.AbstractEventLoop:
    """The loop that requests are handled on, for the life of the process: on a thread of its own, so that a handler
    may be called from anywhere, a running loop included.
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


def budget_of(context: Any) -> timedelta | None:
    """Less than the app's own budget only if Lambda leaves less time."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    if remaining is None:
        return None
    left = timedelta(milliseconds=float(remaining()) * _SPARE)
    return left if left < timedelta(seconds=10) else None


def read_event(event: Mapping[str, Any]) -> Request:
    """The request within a Lambda event."""
    context = event.get("requestContext")
    http = cast("Mapping[str, Any]", context).get("http") if isinstance(context, Mapping) else None
    if not isinstance(http, Mapping):
        raise ConfigError(
            "the Lambda event is not an HTTP request of payload format 2.0: invoke this function through Milepost, "
            "or by a Function URL or HTTP API"
        )
    given: Mapping[str, Any] = event.get("headers") or {}
    headers = {name.lower(): str(value) for name, value in given.items()}
    body = event.get("body") or ""
    raw = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode("utf-8", "surrogatepass")
    query = dict(parse_qsl(event.get("rawQueryString") or "", keep_blank_values=True))
    host = cast("Mapping[str, Any]", context).get("domainName") or headers.get("host") or ""
    path = event.get("rawPath") or "/"
    method = str(cast("Mapping[str, Any]", http).get("method") or "POST")
    return Request(method, query, headers, raw, f"https://{host}{path}" if host else "")


def _encode(body: bytes) -> tuple[str, bool]:
    try:
        return body.decode(), False
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), True
