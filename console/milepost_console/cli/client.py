"""The command line's calls to a server: a small Protocol and its HTTP implementation.

A deployed stack is reached through the same calls (`milepost_console.stack.client`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, cast

import httpx

__all__ = ["Client", "ClientProblem", "HttpClient", "Unreachable"]

Json = Any
Fields = Mapping[str, str | Sequence[str] | int]


class ClientProblem(Exception):
    """The server refused; `code` is explained in docs/errors.md."""

    def __init__(self, code: str, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class Unreachable(Exception):
    """The server does not answer."""


class Client(Protocol):
    """The JSON API, call by call. Every call raises ClientProblem or Unreachable."""

    def get(self, path: str, fields: Fields | None = None) -> dict[str, Json]:
        """Read something under /api."""
        ...

    def post(self, path: str, body: Mapping[str, Json] | None = None) -> dict[str, Json]:
        """Change something under /api."""
        ...

    def delete(self, path: str) -> dict[str, Json]:
        """Erase something under /api."""
        ...

    def send(self, events: Sequence[Mapping[str, Json]]) -> list[str]:
        """Send events; their ids in order."""
        ...

    def follow(self) -> Iterator[tuple[str, dict[str, Json]]]:
        """Updates as they arrive: kind and fields."""
        ...


TIMEOUT_SECONDS: Final = 60.0


class HttpClient:
    """The API of a server at a URL."""

    def __init__(self, url: str, *, event_key: str = "dev", transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        self._event_key = event_key
        # Ignores proxies from the environment: the server is on this machine or nearby.
        self._http = httpx.Client(
            base_url=self.url,
            headers={"x-milepost": "1"},
            timeout=httpx.Timeout(TIMEOUT_SECONDS, connect=5),
            trust_env=False,
            # Loading certificates takes 20 ms and is useless over plain HTTP.
            verify=not self.url.startswith("http://"),
            transport=transport,
        )

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def get(self, path: str, fields: Fields | None = None) -> dict[str, Json]:
        return self._call(
            "GET", path, params={key: value for key, value in (fields or {}).items() if value not in ("", [])}
        )

    def post(self, path: str, body: Mapping[str, Json] | None = None) -> dict[str, Json]:
        return self._call("POST", path, json=dict(body or {}))

    def delete(self, path: str) -> dict[str, Json]:
        return self._call("DELETE", path)

    def send(self, events: Sequence[Mapping[str, Json]]) -> list[str]:
        answer = self._ask("POST", f"/e/{self._event_key}", json=list(events))
        body = _json(answer)
        if answer.status_code != 200:
            accepted = len(body.get("ids", []))
            problem = str(body.get("error") or answer.text[:200])
            raise ClientProblem(
                str(body.get("code", "MP310")),
                f"{accepted} of {len(events)} events accepted: {problem}",
                answer.status_code,
            )
        if "ids" not in body:
            raise self._not_milepost(answer)
        return [str(id_) for id_ in body["ids"]]

    def follow(self) -> Iterator[tuple[str, dict[str, Json]]]:
        try:
            with self._http.stream("GET", "/api/stream", timeout=httpx.Timeout(60, connect=5)) as answer:
                kind = ""
                for line in answer.iter_lines():
                    word, _, rest = line.partition(": ")
                    if word == "event":
                        kind = rest
                    elif word == "data":
                        yield kind, cast("dict[str, Json]", httpx.Response(200, text=rest).json())
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _call(self, method: str, path: str, **how: Any) -> dict[str, Json]:
        answer = self._ask(method, f"/api{path}", **how)
        body = _json(answer)
        if answer.is_success and body:
            return body
        if not body:
            raise self._not_milepost(answer)
        message = str(body.get("error") or f"HTTP {answer.status_code}: {answer.text[:200]}")
        raise ClientProblem(str(body.get("code", "MP320")), message, answer.status_code)

    def _ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **how)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error

    def _not_milepost(self, answer: httpx.Response) -> ClientProblem:
        message = (
            f"The server at {self.url} is not a Milepost server (HTTP {answer.status_code}, "
            f"{answer.headers.get('content-type', 'no content type')}). Check the address."
        )
        return ClientProblem("MP322", message, answer.status_code)

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(
            f"no server answers at {self.url} ({error or type(error).__name__}): start it with `milepost dev`, "
            "or give its address with --url or MILEPOST_URL"
        )


def _json(answer: httpx.Response) -> dict[str, Json]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {"value": body}
