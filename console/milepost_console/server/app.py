"""Assembles the server: routes, guard, static pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fastapi import FastAPI
from starlette.types import ASGIApp

from milepost import __version__

from .api_events import events_router
from .api_functions import functions_router
from .api_logs import logs_router
from .api_runs import runs_router
from .backend import Backend
from .bulk import bulk_router
from .description import ANY_REFUSAL, describe
from .eventbridge import eventbridge_router
from .guard import Guard
from .intake import intake_router
from .pages import add_pages
from .problems import JsonResponse, add_handlers
from .protocol import protocol_router
from .public_api import public_router
from .started_runs import started_runs_router
from .stream import stream_router
from .webhooks import webhooks_router

__all__ = ["build_app"]

_PAGES: Final = (
    intake_router, runs_router, logs_router, bulk_router, events_router, functions_router, stream_router,
)  # fmt: skip
"""Routes for the dashboard and the command line."""
_SDKS: Final = (eventbridge_router, webhooks_router, protocol_router, started_runs_router, public_router)
"""Routes for apps and senders. A deployed stack has its own, protected by keys."""


def build_app(backend: Backend, *, hosts: Iterable[str] = (), any_address: bool = False) -> ASGIApp:
    """The ASGI application. `hosts`, `any_address`: see Guard."""
    app = FastAPI(
        title="Milepost",
        version=__version__,
        summary="The JSON API of the dev server and of the dashboard.",
        description="State-changing calls under /api need the header `X-Milepost: 1`. Errors are "
        '`{"code": "MP…", "error": "…"}`. Times are ISO 8601 in UTC with milliseconds.',
        openapi_url="/api/openapi.json",
        # FastAPI's own pages load scripts from other hosts.
        docs_url=None,
        redoc_url=None,
        default_response_class=JsonResponse,
        responses=ANY_REFUSAL,
    )
    add_handlers(app)
    for make in (*_PAGES, *(_SDKS if backend.mode == "dev" else ())):
        app.include_router(make(backend))
    add_pages(app, backend.static_folder)
    describe(app)
    return Guard(app, hosts=hosts, any_address=any_address, on_hold=backend.on_hold)
