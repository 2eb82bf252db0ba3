"""The endpoints that SDKs call (protocol §2.1, §2.12, §3.3): registration, a run's state, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from milepost import __version__
from milepost.protocol import Header
from milepost_engine.codec import Json
from milepost_engine.http.endpoints import (
    Answer,
    register_app,
    register_http,
    run_events,
    run_steps,
    save_checkpoint,
    uuid_of,
)
from milepost_engine.operations.queries import iso
from milepost_engine.store.registry import RegisteredApp

from .backend import Backend
from .description import TEXT, answers, reference, schema_of, takes
from .problems import JsonResponse
from .wire_models import (
    CheckpointBody,
    DevServerInfo,
    Health,
    RegisterBody,
    Registered,
    RegisterRefused,
    WireEvent,
    WireRefused,
)

__all__ = ["as_response", "protocol_router", "register"]


def as_response(backend: Backend, answer: Answer) -> Response:
    """An answer of the engine's HTTP endpoints, with this server's kind in a header."""
    kind = {Header.SERVER_KIND.value: backend.server_kind}
    return Response(answer.body, answer.status, media_type=answer.media_type, headers=kind)


async def register(backend: Backend, manifest: Mapping[str, Json], url: str) -> tuple[str, bool]:
    """Register an HTTP app; returns its id and whether anything changed. Raises ManifestError and records its text."""
    app, modified = await register_http(backend.engine, manifest, url)
    _publish(backend, app)
    return app.app_id, modified


def _publish(backend: Backend, app: RegisteredApp) -> None:
    backend.live.publish("app", {"app_id": app.app_id, "version": app.version, "error": ""})


def protocol_router(backend: Backend) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["sdk protocol"])
    engine = backend.engine

    @router.post(
        "/fn/register",
        summary="Register an HTTP app (sent by its SDK)",
        responses=answers(Registered) | {400: reference(RegisterRefused, TEXT)},
        openapi_extra=takes(schema_of(RegisterBody), required=True),
    )
    async def sync(request: Request) -> Response:
        expected = request.headers.get(Header.EXPECTED_SERVER_KIND.value, "")
        raw = await request.body()
        answer, app = await register_app(engine, raw, expected_kind=expected, kind=backend.server_kind)
        if app is not None:
            _publish(backend, app)
        return as_response(backend, answer)

    @router.get(
        "/v0/runs/{run_id}/actions",
        summary="A live run's finished steps",
        responses=answers(dict[str, Any], 404, 410, refused=WireRefused),
    )
    async def actions(run_id: str) -> Response:
        return as_response(backend, await run_steps(engine, run_id))

    @router.get(
        "/v0/runs/{run_id}/batch",
        summary="A live run's events",
        responses=answers(list[WireEvent], 404, 410, refused=WireRefused),
    )
    async def batch(run_id: str) -> Response:
        return as_response(backend, await run_events(engine, run_id))

    @router.post(
        "/v1/checkpoint/{run_id}/async",
        summary="Save finished steps of a running invocation",
        response_class=Response,
        responses=answers(None, 400, 404, 409, 413, refused=WireRefused),
        openapi_extra=takes(schema_of(CheckpointBody), required=True),
    )
    async def checkpoint(run_id: str, request: Request) -> Response:
        return as_response(backend, await save_checkpoint(engine, run_id, await request.body()))

    @router.get(
        "/health",
        summary="Whether the server is up and your code is loaded (503: not yet)",
        responses=answers(Health, 503, refused=Health),
    )
    async def health() -> Response:
        headers = {Header.SERVER_KIND.value: backend.server_kind}
        if backend.ready is not None and not backend.ready.is_set():
            return JsonResponse({"status": 503, "message": "The code is being loaded."}, 503, headers=headers)
        return JsonResponse({"status": 200, "message": "OK"}, headers=headers)

    @router.get("/dev", summary="What the dev server serves", responses=answers(DevServerInfo))
    async def dev() -> Response:
        return JsonResponse(await _describe(backend), headers={Header.SERVER_KIND.value: backend.server_kind})

    return router


async def _describe(backend: Backend) -> dict[str, Json]:
    """The answer of `GET /dev`, which tools of the protocol read."""
    snapshot = await backend.engine.registry.snapshot()
    functions = [
        {
            "id": uuid_of(spec.function_id),
            "name": spec.name,
            "slug": spec.function_id,
            "triggers": spec.raw.get("triggers", []),
            "steps": [],
        }
        for spec in snapshot.functions.values()
    ]
    handlers = [
        {
            "sdk": dict(app.manifest),
            "createdAt": iso(app.synced_at),
            "updatedAt": iso(app.synced_at),
            "error": app.error,
        }
        for app in snapshot.apps.values()
    ]
    return {
        "version": __version__,
        "authed": False,
        "startOpts": dict(backend.options),
        "functions": functions,
        "handlers": handlers,
        "features": {},
        "isSingleNodeService": True,
        "isMissingSigningKey": False,
        "isMissingEventKeys": False,
    }
