"""The endpoints behind `Function.start` and the run that it returns. A stack's API and its Lambda answer the same."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from milepost_engine.http.run_endpoints import answer_run_request

from .backend import Backend
from .description import answers, schema_of, takes
from .models import Done, Started
from .protocol import as_response
from .wire_models import CancelRunBody, RunOutcome, StartRefused, StartRunBody

__all__ = ["started_runs_router"]


def started_runs_router(backend: Backend) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1/functions/{function_id}/runs", tags=["sdk protocol"])

    async def answer(request: Request) -> Response:
        path: bytes = request.scope["raw_path"]
        found = await answer_run_request(backend.engine, request.method, path.decode("latin-1"), await request.body())
        return as_response(backend, found)

    @router.post(
        "",
        summary="Start a run of a function",
        responses=answers(Started, 400, 404, 409, refused=StartRefused),
        openapi_extra=takes(schema_of(StartRunBody)),
    )
    async def start(function_id: str, request: Request) -> Response:  # noqa: ARG001 - read from the path
        return await answer(request)

    @router.get(
        "/{run_id}", summary="A run's status and result", responses=answers(RunOutcome, 404, refused=StartRefused)
    )
    async def show(function_id: str, run_id: str, request: Request) -> Response:  # noqa: ARG001 - as above
        return await answer(request)

    @router.post(
        "/{run_id}/cancel",
        summary="Cancel a started run",
        responses=answers(Done, 400, 404, 409, refused=StartRefused),
        openapi_extra=takes(schema_of(CancelRunBody)),
    )
    async def cancel(function_id: str, run_id: str, request: Request) -> Response:  # noqa: ARG001 - as above
        return await answer(request)

    return router
