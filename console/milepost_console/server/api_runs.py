"""Runs under /api: list, show, cancel, replay, erase."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from .backend import Backend
from .description import answers
from .models import Done, Erased, RunDetail, RunList, Started
from .problems import JsonResponse, Refused
from .search import find_runs, read_search

__all__ = ["MAX_PAGE", "CancelBody", "ReplayBody", "RunQuery", "runs_router"]

MAX_PAGE = 500


class RunQuery(BaseModel):
    """A filter for runs; empty fields do not filter."""

    model_config = ConfigDict(extra="forbid")

    function: list[str] = Field(default_factory=list, description="Full function ids; runs of any of them match.")
    app: str = ""
    status: list[str] = Field(default_factory=list, description="Queued, Running, Completed, Failed or Cancelled.")
    event: str = Field(default="", description="Name of the event that started the run.")
    event_id: str = ""
    origin: str = Field(default="", description="Replays of this run.")
    since: datetime | None = Field(default=None, description="Queued at or after this time.")
    until: datetime | None = None
    q: str = Field(default="", description="Text in ids and event data, or an expression after `cel:`.")

    def search(self) -> Any:
        """These fields as a search. Raises Refused."""
        return read_search(
            functions=self.function, app=self.app, statuses=self.status, event=self.event, event_id=self.event_id,
            origin=self.origin, since=self.since, until=self.until, q=self.q,
        )  # fmt: skip


class RunPage(RunQuery):
    """A filter for runs and a page of the result."""

    limit: int = Field(default=50, ge=1, le=MAX_PAGE)
    after: str = Field(default="", description="`next` of the previous page.")


class CancelBody(BaseModel):
    reason: str = Field(default="", max_length=1000)


class ReplayBody(BaseModel):
    """`from_step` is a step's name: results before it are kept. `data` replaces the event's data."""

    from_step: str | None = None
    data: dict[str, Any] | None = None


def runs_router(backend: Backend) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/runs", tags=["runs"])
    engine = backend.engine

    @router.get("", summary="List runs, newest first", responses=answers(RunList))
    async def list_runs(page: Annotated[RunPage, Query()]) -> JsonResponse:
        return JsonResponse(await find_runs(engine, page.search(), limit=page.limit, after=page.after))

    @router.get("/{run_id}", summary="One run with its whole trace", responses=answers(RunDetail, 404))
    async def show(run_id: str) -> JsonResponse:
        detail = await engine.queries.run(run_id)
        if detail is None:
            raise Refused(
                404, "MP301", f"There is no run {run_id}; it may have expired. List the runs to see their ids."
            )
        return JsonResponse(detail)

    @router.post(
        "/{run_id}/cancel",
        summary="Cancel a run; it stops before its next step",
        responses=answers(Done, 404, 409),
    )
    async def cancel(run_id: str, body: CancelBody | None = None) -> JsonResponse:
        await engine.operations.cancel(run_id, body.reason if body else "")
        return JsonResponse({"ok": True})

    @router.post(
        "/{run_id}/replay",
        summary="Replay a run as a new one",
        responses=answers(Started, 404, 409, 410),
    )
    async def replay(run_id: str, body: ReplayBody | None = None) -> JsonResponse:
        how = body or ReplayBody()
        run = await engine.operations.replay(run_id, from_step=how.from_step, data=how.data)
        return JsonResponse({"run_id": run.run_id})

    @router.delete(
        "/{run_id}",
        summary="Erase an ended run, and its event unless another run has it",
        responses=answers(Erased, 404, 409),
    )
    async def erase(run_id: str) -> JsonResponse:
        return JsonResponse({"ok": True, "erased": await engine.operations.erase(run_id)})

    return router
