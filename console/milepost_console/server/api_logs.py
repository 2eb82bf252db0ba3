"""`GET /api/runs/{id}/logs`: what a run's code logged, wherever it is kept."""

from __future__ import annotations

from fastapi import APIRouter

from milepost_console.dev.run_log import LoggedLine, RunLog
from milepost_engine.codec import Json
from milepost_engine.operations.queries import iso

from .backend import Backend
from .description import answers
from .models import RunLogLines
from .problems import JsonResponse, Refused

__all__ = ["logs_router"]

ELSEWHERE = RunLog("elsewhere")


def logs_router(backend: Backend) -> APIRouter:
    """The route."""
    router = APIRouter(prefix="/api/runs", tags=["runs"])
    engine = backend.engine

    @router.get("/{run_id}/logs", summary="What a run's code logged", responses=answers(RunLogLines, 404))
    async def logs(run_id: str, after: int = -1) -> JsonResponse:
        """`after`: only lines with a greater number. For a stack this queries CloudWatch Logs, which takes seconds."""
        run = await engine.runs.load(run_id)
        if run is None:
            raise Refused(
                404, "MP301", f"There is no run {run_id}; it may have expired. List the runs to see their ids."
            )
        app = (await engine.registry.snapshot()).apps.get(run.app_id)
        # An app at an HTTP address logs where it runs.
        served_elsewhere = app is not None and app.target.kind == "http"
        found = ELSEWHERE if backend.logs is None or served_elsewhere else await backend.logs.of(run, app)
        return JsonResponse(
            {
                "kept": found.kept,
                "since": iso(found.since),
                "cut": found.cut,
                "lines": [_row(line) for line in found.lines if line.number > after],
            }
        )

    return router


def _row(line: LoggedLine) -> dict[str, Json]:
    return {
        "number": line.number,
        "at": iso(line.at),
        "level": line.level,
        "source": line.source,
        "text": line.text,
        "step": line.step or None,
        "step_id": line.step_id or None,
        "attempt": line.attempt,
    }
