"""Protects a server that acts with your AWS credentials: requests without its key are refused, even on this machine.

The address printed in the terminal contains the key. The browser then keeps it in a cookie that no other site receives
and no script can read. Programs send `Authorization: Bearer <key>`.
"""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qsl, urlencode

from starlette.types import ASGIApp, Receive, Scope, Send

from .problems import JsonResponse, problem_body

__all__ = ["KeyRequired"]

PARAMETER: Final = "key"
_COOKIE: Final = "milepost_key"
_MISSING: Final = "This dashboard needs its key: open the complete address printed in its terminal."


class KeyRequired:
    """Lets only requests with the key through; wraps the whole application."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["method"] == "GET" and self._fits(dict(query).get(PARAMETER, "")):
            # Removes the key from the address bar and the history.
            rest = urlencode([(name, value) for name, value in query if name != PARAMETER])
            headers = {
                "location": scope["path"] + (f"?{rest}" if rest else ""),
                "set-cookie": f"{_COOKIE}={self._key.decode()}; HttpOnly; SameSite=Strict; Path=/",
                "referrer-policy": "no-referrer",
                "cache-control": "no-store",
            }
            await JsonResponse({}, 303, headers=headers)(scope, receive, send)
        elif any(self._fits(given) for given in _given(scope)):
            await self._app(scope, receive, send)
        else:
            await JsonResponse(problem_body("MP336", _MISSING), 401)(scope, receive, send)

    def _fits(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._key)


def _given(scope: Scope) -> list[str]:
    """The keys in a request's headers."""
    found: list[str] = []
    for name, value in scope["headers"]:
        text = value.decode("latin-1")
        if name == b"authorization" and text[:7].lower() == "bearer ":
            found.append(text[7:].strip())
        if name == b"cookie":
            try:
                cookie = SimpleCookie(text).get(_COOKIE)
            except CookieError:
                continue
            found += [cookie.value] if cookie else []
    return found
