"""Requests and responses as the app sees them, whatever carries them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic_core import to_json

from . import protocol
from ._version import VERSION
from .protocol import Header

__all__ = ["SDK_NAME", "Request", "Response", "json_response"]

SDK_NAME = f"milepost:v{VERSION}"


_COMMON: Final = {
    Header.CONTENT_TYPE.value: "application/json",
    Header.SDK.value: SDK_NAME,
    Header.REQUEST_VERSION.value: protocol.REQUEST_VERSION,
}


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. Header names are lower case.

    Args:
        method: `"PUT"`, `"GET"` or `"POST"`.
        query: Query parameters; the last of repeated ones.
        headers: Header names in lower case.
        body: The body as it travelled: signatures cover these bytes.
        url: Address of the app without query, for registration; may be empty.
    """

    method: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response. Header names are lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


def json_response(status: int, body: object, headers: Mapping[str, str] | None = None) -> Response:
    """A response with what every answer carries. `body` is made JSON unless it is bytes already."""
    data = body if isinstance(body, bytes) else to_json(body)
    return Response(status, {**_COMMON, **(headers or {})}, data)
