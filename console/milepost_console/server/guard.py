"""Decides who may talk to the server: a pure ASGI layer in front of everything.

Any web page can make a browser send requests to a server on this machine. Three checks keep such requests out:
- The Host header must name this server. This stops DNS rebinding, where a foreign name resolves to 127.0.0.1.
- The Origin header, which browsers send with whatever a page posts, must be the server's own.
- Changes under /api need a custom header. A page of another origin needs a CORS preflight to send it, and this server
  never grants one.
Body sizes are limited while bodies arrive.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, MutableMapping
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import JsonResponse, problem_body

__all__ = ["MAX_EVENTS_BYTES", "Guard"]

MAX_EVENTS_BYTES: Final = 10 * 1024 * 1024
MAX_BODY_BYTES: Final = 48 * 1024 * 1024
"""A checkpoint may contain all steps of a run (32 MiB) and their names."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
HEADER: Final = "x-milepost"


class Guard:
    """Refuses requests that do not come from this machine's own tools.

    `hosts` are more accepted host names. `any_address` also accepts every IP address, for a server that listens on the
    network; foreign names are still refused. While the server is `on_hold`, it refuses what it would have to store.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str] = (),
        any_address: bool = False,
        on_hold: Callable[[], bool] = lambda: False,
    ) -> None:
        self._app = app
        self._on_hold = on_hold
        self._hosts = _LOOPBACK | {host.lower() for host in hosts}
        self._any_address = any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            status, code, message = refusal
            await JsonResponse(problem_body(code, message), status)(scope, receive, send)
            return
        limit = MAX_EVENTS_BYTES if scope["path"].startswith(("/e/", "/webhooks/")) else MAX_BODY_BYTES
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            await _too_large(limit)(scope, receive, send)
            return
        await _Limited(self._app, limit).serve(scope, receive, send)

    def _refusal(self, scope: Scope, headers: MutableMapping[str, str]) -> tuple[int, str, str] | None:
        host = headers.get("host", "")
        if not self._knows(_name_of(host)):
            return 403, "MP311", (
                f"This server does not accept the host name {host!r}. Use 127.0.0.1 or localhost, or start the server "
                "with --allow-host."
            )  # fmt: skip
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin, host):
            return 403, "MP312", f"Requests from web pages of {origin!r} are refused."
        path, method = scope["path"], scope["method"]
        if path.startswith("/api/") and method in _WRITES:
            if headers.get(HEADER) != "1":
                return 403, "MP313", f"{method} {path} needs the header 'X-Milepost: 1'."
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
            if has_body and kind != "application/json":
                return 415, "MP310", f"{method} {path} expects JSON: send the header 'Content-Type: application/json'."
        if method in _WRITES and self._on_hold():
            return (
                503,
                "MP324",
                "The server's disk is full. Free some disk space, then send this again: it was not accepted.",
            )
        return None

    def _knows(self, name: str) -> bool:
        if name in self._hosts:
            return True
        return self._any_address and _is_address(name)

    def _is_own(self, origin: str, host: str) -> bool:
        parts = urlsplit(origin)
        return parts.scheme in {"http", "https"} and parts.netloc.lower() == host.lower()


class _Limited:
    """Counts a body while it arrives, for requests without a Content-Length."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0
        began = False

        async def count() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._limit:
                raise _TooLarge
            return message

        async def note(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, count, note)
        except _TooLarge:
            if not began:
                await _too_large(self._limit)(scope, receive, send)


class _TooLarge(BaseException):
    """A BaseException, so that the app's own error handling does not catch it."""


def _too_large(limit: int) -> JsonResponse:
    message = f"The body is larger than {limit} bytes. Send less at a time, or a reference to where the data is stored."
    return JsonResponse(problem_body("MP314", message), 413)


def _name_of(host: str) -> str:
    """The name in a Host header, without port and IPv6 brackets."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
