"""Responses with a JSON body and the headers that every SDK response carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic_core import to_json

from milepost import protocol
from milepost._version import SDK_NAME
from milepost.protocol import Header, Response

__all__ = ["json_response"]

_COMMON: Final = {
    Header.CONTENT_TYPE.value: "application/json",
    Header.SDK.value: SDK_NAME,
    Header.REQUEST_VERSION.value: protocol.REQUEST_VERSION,
}


def json_response(status: int, body: object, headers: Mapping[str, str] | None = None) -> Response:
    """A response with the common headers. `body` is written as JSON, unless it is bytes: those are JSON already."""
    data = body if isinstance(body, bytes) else to_json(body)
    return Response(status, {**_COMMON, **(headers or {})}, data)
