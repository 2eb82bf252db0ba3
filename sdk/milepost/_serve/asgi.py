"""The app as an ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from milepost._values.web import json_response
from milepost.protocol import Request, Response

if TYPE_CHECKING:
    from .handler import RequestHandler

__all__ = ["AsgiApp", "asgi_app"]

Message = MutableMapping[str, Any]
"""A scope or message of ASGI: its keys and the types of their values depend on its `type`."""
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]
"""An ASGI 3 application: `await app(scope, receive, send)`."""

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""Far above any call of the protocol (4 MiB); limits the memory that an unauthenticated client can use."""


def asgi_app(app: RequestHandler, unguarded: str) -> AsgiApp:
    """An ASGI application that serves the app at every path. A body over 64 MiB is answered with 413.

    `unguarded`: why the app would refuse every call; the web server then reports it and does not start.
    """

    async def serve(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send, unguarded)
        elif scope["type"] == "http":
            body = await _read_body(receive)
            if body is None:
                message = f"the body is over {MAX_BODY_BYTES} bytes"
                response = json_response(413, {"name": "RequestError", "message": message, "stack": ""})
            else:
                response = await app.handle(_request(scope, body))
            await _write(send, response)
        else:
            raise NotImplementedError(f"the app serves HTTP, not {scope['type']}")

    return serve


async def _lifespan(receive: Receive, send: Send, unguarded: str) -> None:
    while True:
        message = await receive()
        if unguarded and message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.failed", "message": unguarded})
            return
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _read_body(receive: Receive) -> bytes | None:
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY_BYTES:
            return None
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def _request(scope: Message, body: bytes) -> Request:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
    host = headers.get("host") or ":".join(map(str, scope.get("server") or ("localhost",)))
    # Servers of newer ASGI versions give the full path; older ones give it without the mount point.
    root, path = scope.get("root_path", ""), scope.get("path", "")
    if root and not path.startswith(root):
        path = root + path
    return Request(scope["method"], query, headers, body, f"{scope.get('scheme', 'http')}://{host}{path}")


async def _write(send: Send, response: Response) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
