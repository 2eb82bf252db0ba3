"""Endpoints under /v1 that tools of the protocol use (protocol §3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import cast

from fastapi import APIRouter
from starlette.responses import Response

from milepost.protocol import Header
from milepost_engine.codec import Json
from milepost_engine.core.ids import is_ulid
from milepost_engine.operations.actions import OperationError
from milepost_engine.operations.queries import iso
from milepost_engine.store.events import Event

from .backend import Backend
from .description import answers
from .problems import JsonResponse
from .wire_models import EventAnswer, EventsAnswer, RunAnswer, RunsAnswer, WireRefused

__all__ = ["public_router"]

_ENVIRONMENT = "00000000-0000-4000-b000-000000000000"
_ACCOUNT = "00000000-0000-4000-a000-000000000000"


def public_router(backend: Backend) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1", tags=["sdk protocol"])
    engine = backend.engine
    kind = {Header.SERVER_KIND.value: backend.server_kind}

    def answer(data: Json) -> Response:
        now = iso(engine.clock.now())
        return JsonResponse({"data": data, "metadata": {"fetched_at": now, "cached_until": now}}, headers=kind)

    def refuse(error: str, status: int) -> Response:
        return JsonResponse({"error": error, "data": None, "status": status}, status, headers=kind)

    @router.get("/events", summary="List events, newest first", responses=answers(EventsAnswer))
    async def events(
        name: str = "", limit: int = 20, cursor: str = "", received_before: datetime | None = None
    ) -> Response:
        names = [name] if name else []
        limit = max(1, min(limit, 100))
        listed = await engine.queries.list_events(names=names, limit=limit, before=received_before, after=cursor)
        found = [await engine.events.load(str(row["event_id"])) for row in _rows(listed["events"])]
        return answer([_event(event) for event in found if event is not None])

    @router.get("/events/{event_id}", summary="One event", responses=answers(EventAnswer, 404, refused=WireRefused))
    async def event(event_id: str) -> Response:
        found = await engine.events.load(event_id)
        return answer(_event(found)) if found else refuse("Event not found", 404)

    @router.get(
        "/events/{event_id}/runs",
        summary="The runs that an event started",
        responses=answers(RunsAnswer, 404, refused=WireRefused),
    )
    async def runs_of(event_id: str) -> Response:
        found = await engine.queries.event(event_id)
        if found is None:
            return refuse("Event not found", 404)
        details = [await engine.queries.run(str(row["run_id"])) for row in _rows(found["runs"])]
        return answer([_run(detail) for detail in details if detail is not None])

    @router.get("/runs/{run_id}", summary="One run", responses=answers(RunAnswer, 400, 404, refused=WireRefused))
    async def run(run_id: str) -> Response:
        if not is_ulid(run_id):
            return refuse(f"Invalid run ID: {run_id}", 400)
        detail = await engine.queries.run(run_id)
        return answer(_run(detail)) if detail else refuse("Run not found", 404)

    @router.delete(
        "/runs/{run_id}",
        summary="Cancel a run",
        response_class=Response,
        responses=answers(None, 400, 404, 409, refused=WireRefused),
    )
    async def cancel(run_id: str) -> Response:
        if not is_ulid(run_id):
            return refuse(f"Invalid run ID: {run_id}", 400)
        try:
            await engine.operations.cancel(run_id)
        except OperationError as error:
            return refuse(str(error), 404 if error.code == "MP301" else 409)
        return Response(status_code=200, headers=kind)

    return router


def _rows(listed: Json) -> list[Mapping[str, Json]]:
    return cast("list[Mapping[str, Json]]", listed)


def _event(event: Event) -> dict[str, Json]:
    return {
        "internal_id": event.event_id,
        "account_id": _ACCOUNT,
        "environment_id": _ENVIRONMENT,
        "source": "",
        "source_id": None,
        "received_at": iso(event.received_at),
        **event.wire(),
    }


def _run(detail: Mapping[str, Json]) -> dict[str, Json]:
    failed = detail["error"] is not None
    return {
        "run_id": detail["run_id"],
        "run_started_at": detail["started_at"] or detail["queued_at"],
        "function_id": detail["function_id"],
        "function_version": 1,
        "environment_id": _ENVIRONMENT,
        "event_id": detail["event_id"],
        "status": detail["status"],
        "ended_at": detail["ended_at"],
        "output": detail["error"] if failed else detail["output"],
    }
