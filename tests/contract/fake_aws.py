"""An AWS endpoint with scripted answers, over real sockets."""

import http.server
import json
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.loopback import serving_on_loopback

__all__ = ["HANG_UP", "FakeAws", "Seen", "running_fake_aws"]

HANG_UP: tuple[int, dict[str, str]] = (0, {})
"""Given instead of a status and a body: reads the request and closes the connection without an answer."""


@dataclass(frozen=True)
class Seen:
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int


@dataclass
class FakeAws:
    """Gives the scripted `answers` in turn, then an empty success."""

    url: str = ""
    answers: deque[tuple[int, Any]] = field(default_factory=deque)
    seen: list[Seen] = field(default_factory=list)
    answer_headers: dict[str, str] = field(default_factory=dict)
    connections: int = 0

    def will_answer(self, *more: tuple[int, Any]) -> None:
        self.answers.extend(more)


@contextmanager
def running_fake_aws() -> Iterator[FakeAws]:
    fake = FakeAws()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            fake.connections += 1
            self.number = fake.connections

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            fake.seen.append(Seen(self.path, headers, body, self.number))
            status, answer = fake.answers.popleft() if fake.answers else (200, {})
            if (status, answer) == HANG_UP:
                self.close_connection = True
                return
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in fake.answer_headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with serving_on_loopback(Handler) as fake.url:
        yield fake
