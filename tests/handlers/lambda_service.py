"""Lambda's Invoke endpoint over real sockets: functions are Python callables, or say how they fail."""

from __future__ import annotations

import http.server
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tests.loopback import serving_on_loopback

__all__ = ["FunctionError", "LambdaService", "Refusal", "running_lambda_service"]

Function = Callable[[Mapping[str, Any]], Any]


class FunctionError(Exception):
    """The function ran and failed: `payload` is what Lambda answers."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.payload = {"errorType": kind, "errorMessage": message}


class Refusal(Exception):
    """Lambda did not run the function."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass
class LambdaService:
    """`functions` by the name or ARN that is invoked; an unknown one is a ResourceNotFoundException.

    An asynchronous call lies in `accepted` until somebody makes it. `refuses` is asked first.
    """

    url: str = ""
    functions: dict[str, Function] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    accepted: list[tuple[str, bytes]] = field(default_factory=list)
    refuses: list[Refusal] = field(default_factory=list)

    def clear(self) -> None:
        for each in (self.functions, self.calls, self.accepted, self.refuses):
            each.clear()

    def answer(self, name: str, kind: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        self.calls.append((name, kind))
        try:
            function = self.functions.get(name)
            if self.refuses:
                raise self.refuses.pop()
            if function is None:
                raise Refusal(404, "ResourceNotFoundException", f"Function not found: {name}")
            if kind == "Event":
                self.accepted.append((name, body))
                return 202, {}, b""
            answer = function(json.loads(body))
        except Refusal as refusal:
            return refusal.status, {"x-amzn-errortype": refusal.code}, json.dumps({"message": refusal.message}).encode()
        except FunctionError as error:
            return 200, {"x-amz-function-error": "Unhandled"}, json.dumps(error.payload).encode()
        return 200, {}, answer if isinstance(answer, bytes) else json.dumps(answer).encode()


@contextmanager
def running_lambda_service() -> Iterator[LambdaService]:
    service = LambdaService()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            name = unquote(self.path.split("/")[3])
            status, headers, content = service.answer(name, self.headers.get("X-Amz-Invocation-Type", ""), body)
            self.send_response(status)
            for header, value in headers.items():
                self.send_header(header, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with serving_on_loopback(Handler) as service.url:
        yield service
