"""Requests from the app to a server: a small HTTP client over the standard library.

It blocks: code on an event loop calls it on a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from milepost._version import SDK_NAME
from milepost.errors import ConfigError, SendError
from milepost.protocol import Header, bearer

from .tries import TRIES, pause_seconds

if TYPE_CHECKING:
    from http.client import HTTPConnection

__all__ = ["HttpApi", "Reply"]


@dataclass(frozen=True, slots=True)
class Reply:
    """The server's reply to a request of the app."""

    status: int
    body: bytes


class HttpApi:
    """A server's address with the keys for it.

    Args:
        base_url: The address, such as `"http://127.0.0.1:8288"`.
        signing_key: Authorizes requests; sent only as a hash.
        fallback_key: Used instead once the server refuses the first key (401 or 403).
        timeout_seconds: Limit for each try; default 30.
        pause: Called with the seconds to wait between tries; for tests.

    Raises ConfigError for an address that is not an HTTP URL.
    """

    def __init__(
        self,
        base_url: str,
        *,
        signing_key: str | None = None,
        fallback_key: str | None = None,
        timeout_seconds: float = 30,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        address = urlsplit(base_url)
        if address.scheme not in {"http", "https"} or not address.hostname:
            raise ConfigError(
                f"the server address {base_url!r} is not a URL such as 'https://host' or 'http://127.0.0.1:8288'"
            )
        self.base_url = base_url.rstrip("/")
        self._address = address
        self._keys = [key for key in (signing_key, fallback_key) if key]
        self._timeout_seconds = timeout_seconds
        self._pause = pause

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send a request, in up to five tries while the server is unreachable or answers 5xx; then raises SendError."""
        keys = list(self._keys)
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                self._pause(pause_seconds(attempt))
            try:
                reply = self._once(method, path, body, self._all_headers(headers, keys))
                if reply.status in {401, 403} and len(keys) > 1:
                    keys.pop(0)
                    reply = self._once(method, path, body, self._all_headers(headers, keys))
            except OSError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if reply.status < 500:
                return reply
            problem = f"HTTP {reply.status}: {reply.body[:200].decode('utf-8', 'replace')}"
        raise SendError(
            f"{method} {self.base_url}{path} failed {TRIES} times; last error: {problem}. Is the server running?"
        )

    @staticmethod
    def _all_headers(headers: Mapping[str, str] | None, keys: list[str]) -> dict[str, str]:
        known = {Header.CONTENT_TYPE.value: "application/json", Header.SDK.value: SDK_NAME, "user-agent": SDK_NAME}
        if keys:
            known[Header.AUTHORIZATION.value] = bearer(keys[0])
        return {**known, **(headers or {})}

    def _once(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        from http.client import HTTPException  # noqa: PLC0415 - takes 25 ms, needed only to send

        connection = self._connect()
        try:
            connection.request(method, self._address.path.rstrip("/") + path, body, dict(headers))
            response = connection.getresponse()
            return Reply(response.status, response.read())
        except HTTPException as error:
            raise OSError(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()

    def _connect(self) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection  # noqa: PLC0415 - as above

        kind = HTTPSConnection if self._address.scheme == "https" else HTTPConnection
        return kind(self._address.hostname or "", self._address.port, timeout=self._timeout_seconds)
