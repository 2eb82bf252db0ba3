"""The part of an app that the ASGI application and the Lambda handler use: it answers requests."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from milepost._replay.execute import Checkpointer, RunStateStore
from milepost.protocol import Request, Response

__all__ = ["RequestHandler"]


class RequestHandler(Protocol):
    """Answers one request over any transport; `App.handle` is the implementation."""

    async def handle(
        self,
        request: Request,
        *,
        checkpointer: Checkpointer | None = None,
        state_store: RunStateStore | None = None,
        budget: timedelta | None = None,
        authenticated: bool = False,
    ) -> Response: ...
