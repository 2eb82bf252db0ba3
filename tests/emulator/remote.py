"""Apps elsewhere, which the stack reaches over HTTP; and its api at the root of an address, as AWS serves it."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from milepost.serving import AsgiApp
from milepost_console.dev.dev_server import bind
from tests.loopback import serving_on_loopback

from .cloud import Cloud

__all__ = ["at_the_root", "official_app", "serving"]

OFFICIAL = Path(__file__).parents[1] / "official" / "app.py"


@contextmanager
def serving(asgi: AsgiApp) -> Iterator[str]:
    """The URL while the application is served, on a thread of its own."""
    listening = bind("127.0.0.1", 0)
    config = uvicorn.Config(asgi, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), name="app elsewhere")
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/api/milepost"
    finally:
        server.should_exit = True
        thread.join(20)


@contextmanager
def at_the_root(cloud: Cloud) -> Iterator[str]:
    """The api under an address without a path: an official SDK puts its own paths after the host."""

    class Relay(http.server.BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            kept = {name.lower(): value for name, value in self.headers.items() if name.lower() not in _OF_ONE_HOP}
            answer = cloud.ask(self.command, self.path, body, **kept)
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name not in _OF_ONE_HOP:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = pass_on  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with serving_on_loopback(Relay) as url:
        yield url


_OF_ONE_HOP = {"host", "connection", "content-length", "content-encoding", "transfer-encoding", "accept-encoding"}


@contextmanager
def official_app(cloud: Cloud, server: str) -> Iterator[str]:
    """The app of the official Python SDK, in a process of its own, as it would run in production; its URL."""
    listening = bind("127.0.0.1", 0)
    port = listening.getsockname()[1]
    listening.close()
    keys = {
        "INNGEST_SIGNING_KEY": f"signkey-prod-{cloud.key('SigningKey')}",
        "INNGEST_EVENT_KEY": cloud.key("EventKey"),
    }
    environment = {**os.environ, **keys, "SERVER": server, "PORT": str(port)}
    app = subprocess.Popen([sys.executable, str(OFFICIAL)], env=environment)
    try:
        yield f"http://127.0.0.1:{port}/api/inngest"
    finally:
        app.kill()
        app.wait()
