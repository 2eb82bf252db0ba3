"""`GET /api/stream`: live updates as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from fastapi import APIRouter
from starlette.responses import StreamingResponse

from milepost_engine.codec import text
from milepost_engine.operations.queries import iso

from .backend import Backend

__all__ = ["stream_router"]

PING_SECONDS: Final = 15.0


def stream_router(backend: Backend) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["console"])

    async def updates() -> AsyncIterator[str]:
        with backend.live.listening() as listener:
            yield f"event: hello\ndata: {text({'now': iso(backend.engine.clock.now())})}\n\n"
            async for item in listener.follow(PING_SECONDS):
                # A comment line keeps the connection open and reveals a dead one.
                yield ": ping\n\n" if item is None else f"event: {item.kind}\ndata: {text(item.row)}\n\n"

    @router.get(
        "/api/stream",
        summary="Server-sent events: hello, run, received, log, app, lost",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def stream() -> StreamingResponse:
        """`run` is a run's row with `changed` (started, step, attempt, ended); `log` names a run with new log lines, if
        its logs were read before; `lost` has the number of dropped updates.
        """
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(updates(), media_type="text/event-stream", headers=headers)

    return router
