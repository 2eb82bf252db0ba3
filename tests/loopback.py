"""A real HTTP server on a free port of this machine, for tests that answer requests themselves."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["serving_on_loopback"]


@contextmanager
def serving_on_loopback(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """The URL while `handler` answers, each connection on a thread of its own."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
