"""The command line's client for a stack: the console's server, called in this process without a socket.

Commands thus read a stack through the same code as the dashboard and need no AWS code.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Any, Final

import httpx

from milepost_console.cli.client import HttpClient
from milepost_console.server.app import build_app

from .parts import StackParts
from .wiring import THREADS, check_table, open_stack

__all__ = ["StackClient"]

_ADDRESS: Final = "http://127.0.0.1"


class StackClient(HttpClient):
    """The API of a stack. Close it: it owns an event loop and threads."""

    def __init__(self, session: Any, parts: StackParts, *, threads: int = THREADS) -> None:
        self.session = session
        self.parts = parts
        with ExitStack() as opened:
            runner = opened.enter_context(asyncio.Runner())
            backend = opened.enter_context(open_stack(session, parts, threads=threads))
            runner.run(check_table(backend))
            self._open = opened.pop_all()
        super().__init__(_ADDRESS, transport=_WithinProcess(build_app(backend), runner))

    def close(self) -> None:
        """Stop the event loop and the threads."""
        self._http.close()
        self._open.close()


class _WithinProcess(httpx.BaseTransport):
    """Passes requests to an ASGI application. Exceptions that it does not turn into answers are bugs and propagate."""

    def __init__(self, app: Any, runner: asyncio.Runner) -> None:
        self._app = httpx.ASGITransport(app)
        self._runner = runner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._runner.run(self._ask(request))

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        asked = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
        answer = await self._app.handle_async_request(asked)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())
