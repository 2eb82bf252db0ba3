"""Events under /api: list, names, show, erase."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from milepost_engine.codec import Json

from .backend import Backend
from .description import answers
from .models import Erased, EventDetail, EventList, EventNames
from .problems import JsonResponse, Refused

__all__ = ["events_router"]


def events_router(backend: Backend) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api", tags=["events"])
    engine = backend.engine

    @router.get("/events", summary="List events, newest first", responses=answers(EventList))
    async def list_events(
        name: Annotated[list[str] | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        after: str = "",
    ) -> JsonResponse:
        return JsonResponse(await engine.queries.list_events(names=name or [], limit=limit, after=after))

    @router.get("/events/{event_id}", summary="One event", responses=answers(EventDetail, 404))
    async def show(event_id: str) -> JsonResponse:
        found = await engine.queries.event(event_id)
        if found is None:
            raise Refused(404, "MP306", f"There is no event {event_id}; it may have expired.")
        started = backend.live.started_by(event_id)
        outcome: dict[str, Json] = {
            "started": None if started is None else list(started),
            "waits_ended": backend.live.waits_ended(event_id),
        }
        return JsonResponse({"user": {}, **found, **outcome})

    @router.delete(
        "/events/{event_id}",
        summary="Erase an event; its runs stay but can no longer be replayed",
        responses=answers(Erased, 404, 409),
    )
    async def erase(event_id: str, *, runs: bool = False) -> JsonResponse:
        """With `runs=true` its runs are erased too; refused while one of them is live."""
        return JsonResponse({"ok": True, "erased": await engine.operations.erase_event(event_id, with_runs=runs)})

    @router.get("/event-names", summary="Names of the events received so far", responses=answers(EventNames))
    async def names() -> JsonResponse:
        return JsonResponse({"names": sorted(await engine.events.names())})

    return router
