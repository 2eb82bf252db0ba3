"""`milepost dashboard --stack`: the dashboard and API for a stack, on loopback, protected by a key."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import uvicorn

from milepost_console.dev.dev_server import bind
from milepost_console.server.app import build_app
from milepost_console.server.session import KeyRequired

from .parts import StackParts
from .wiring import open_stack

__all__ = ["serve_stack"]

_KEY_BYTES = 24
_HOST = "127.0.0.1"


def serve_stack(session: Any, parts: StackParts, *, port: int | None, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `say` gets the address. Raises StartProblem when the port is in use."""
    with contextlib.closing(bind(_HOST, port)) as listening, open_stack(session, parts) as backend:
        key = backend.engine.random_source.random_bytes(_KEY_BYTES).hex()
        config = uvicorn.Config(
            KeyRequired(build_app(backend), key),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        say(f"http://{_HOST}:{listening.getsockname()[1]}/?key={key}")
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn shuts down in order, then re-raises the signal
            asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))
