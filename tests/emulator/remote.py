"""An app elsewhere: an ASGI server in the test's process, that the stack reaches over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from milepost._asgi import AsgiApp
from milepost_console.dev import bind

__all__ = ["serving"]


@contextmanager
def serving(asgi: AsgiApp) -> Iterator[str]:
    """The URL while the application is served, on a thread of its own."""
    listening = bind("127.0.0.1", 0)
    config = uvicorn.Config(asgi, log_config=None, lifespan="off", ws="none")  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), name="app elsewhere")
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/api/milepost"
    finally:
        server.should_exit = True
        thread.join(20)
