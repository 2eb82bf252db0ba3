"""`POST /api/runs/bulk`: cancel or replay many runs, chosen by id or by filter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator

from milepost_engine.engine import Engine
from milepost_engine.operations.actions import OperationError

from .api_runs import RunQuery
from .backend import Backend
from .description import answers
from .models import BulkResult
from .problems import JsonResponse, Refused, bare
from .search import find_runs

__all__ = ["BulkBody", "bulk_router"]

MAX_RUNS: Final = 10_000
_PAGE: Final = 500
_AT_ONCE: Final = 25
_LIVE: Final = ("Queued", "Running")
_Act = Callable[[Engine, "BulkBody", str], Awaitable[str]]


class BulkBody(BaseModel):
    """Either `run_ids`, or a `filter` with the fields of `GET /api/runs`."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["cancel", "replay"]
    run_ids: list[str] | None = Field(default=None, max_length=MAX_RUNS)
    filter: RunQuery | None = None
    dry_run: bool = Field(default=False, description="Only count and list the runs.")
    reason: str = Field(default="", max_length=1000, description="For cancel.")
    from_step: str | None = Field(default=None, description="For replay.")
    data: dict[str, Any] | None = Field(default=None, description="For replay.")

    @model_validator(mode="after")
    def _one_choice(self) -> BulkBody:
        if (self.run_ids is None) == (self.filter is None):
            raise ValueError("give either run_ids or filter")
        return self


def bulk_router(backend: Backend) -> APIRouter:
    """The route."""
    router = APIRouter(prefix="/api/runs", tags=["runs"])

    @router.post("/bulk", summary="Cancel or replay many runs", responses=answers(BulkResult))
    async def bulk(body: BulkBody) -> JsonResponse:
        """`run_ids` are the chosen runs, `done` the cancelled or the new ones. A filter may match at most 10,000 runs.

        A dry run with `run_ids` lists in `failed` the runs that cannot be changed, and why.
        """
        chosen = body.run_ids if body.run_ids is not None else await _chosen(backend.engine, body)
        # Runs found by a filter need no check: only live ones are cancelled, and any run can be replayed.
        act = _act if not body.dry_run else _check if body.run_ids is not None else None
        done: list[str] = []
        failed: list[dict[str, str]] = []
        for start in range(0, len(chosen) if act else 0, _AT_ONCE):
            some = (_tried(act, backend.engine, body, run_id) for run_id in chosen[start : start + _AT_ONCE])
            for made in await asyncio.gather(*some):
                if isinstance(made, dict):
                    failed.append(made)
                elif made:
                    done.append(made)
        return JsonResponse({"count": len(chosen), "run_ids": chosen, "done": done, "failed": failed})

    return router


async def _tried(act: _Act | None, engine: Engine, body: BulkBody, run_id: str) -> str | dict[str, str]:
    """The id of the changed or new run, or the problem."""
    assert act is not None
    try:
        return await act(engine, body, run_id)
    except OperationError as error:
        return {"run_id": run_id, "code": error.code, "error": bare(error.code, error)}


async def _check(engine: Engine, body: BulkBody, run_id: str) -> str:
    if body.action == "cancel":
        await engine.operations.check_cancel(run_id)
    else:
        await engine.operations.check_replay(run_id)
    return ""


async def _chosen(engine: Engine, body: BulkBody) -> list[str]:
    """The runs that match the filter; for a cancellation, live runs only."""
    assert body.filter is not None
    query = body.filter
    if body.action == "cancel" and not query.status:
        query = query.model_copy(update={"status": list(_LIVE)})
    search = query.search()
    found: list[str] = []
    after = ""
    while True:
        page = await find_runs(engine, search, limit=_PAGE, after=after)
        found += [str(row["run_id"]) for row in page["runs"]]  # type: ignore[attr-defined]
        after = str(page["next"])
        if len(found) > MAX_RUNS:
            message = f"The filter matches more than {MAX_RUNS} runs; narrow it by time, function or status."
            raise Refused(400, "MP316", message)
        if not after:
            return found


async def _act(engine: Engine, body: BulkBody, run_id: str) -> str:
    if body.action == "cancel":
        await engine.operations.cancel(run_id, body.reason)
        return run_id
    return (await engine.operations.replay(run_id, from_step=body.from_step, data=body.data)).run_id
