"""Functions and apps under /api, the server's capabilities, and dead letters."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, Field

from milepost import __version__
from milepost_engine.adapters.local.queue import DeadLetter
from milepost_engine.codec import Json
from milepost_engine.core.ids import to_ms, ulid
from milepost_engine.http.webhooks import webhooks_of
from milepost_engine.operations.queries import iso
from milepost_engine.store.manifest import FunctionSpec
from milepost_engine.store.registry import RegisteredApp

from .backend import Backend
from .backlog import backlog
from .description import answers
from .function_row import function_row
from .models import (
    AppList,
    AppRow,
    DeadLetterList,
    Done,
    FunctionDetail,
    FunctionList,
    Redriven,
    ServerInfo,
    Started,
)
from .problems import JsonResponse, Refused
from .stats import Stats

__all__ = ["functions_router"]


class TriggerBody(BaseModel):
    data: dict[str, Any] = Field(default_factory=dict)
    at: AwareDatetime | None = Field(
        default=None, description="When the tick of a cron function was due, as `ctx.cron` says; default now."
    )


class AddAppBody(BaseModel):
    url: str = Field(description="URL of the app.")


class RedriveBody(BaseModel):
    ids: list[int | str] | None = Field(default=None, description="Ids of dead letters; omit for all.")


def functions_router(backend: Backend) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api", tags=["functions"])
    engine = backend.engine
    stats = Stats(engine)

    async def spec_of(function_id: str) -> FunctionSpec:
        snapshot = await engine.registry.snapshot()
        spec = snapshot.functions.get(function_id)
        if spec is None:
            known = ", ".join(sorted(snapshot.functions)) or "none"
            raise Refused(404, "MP308", f"There is no function {function_id!r}. Registered functions: {known}.")
        return spec

    async def row_of(spec: FunctionSpec) -> dict[str, Json]:
        snapshot = await engine.registry.snapshot()
        row = function_row(
            spec,
            engine.clock.now(),
            paused=spec.function_id in snapshot.paused,
            target=snapshot.target_of(spec.app_id),
            retention=engine.settings.retention,
            app=snapshot.apps.get(spec.app_id),
        )
        return row | {"stats": await stats.of(spec.function_id)}

    @router.get("/functions", summary="All functions", responses=answers(FunctionList))
    async def functions() -> JsonResponse:
        listed = (await engine.registry.snapshot()).functions.values()
        rows = [await row_of(spec) for spec in sorted(listed, key=lambda spec: spec.function_id)]
        return JsonResponse({"functions": rows})

    @router.get(
        "/functions/{function_id}", summary="One function and its backlog", responses=answers(FunctionDetail, 404)
    )
    async def function(function_id: str) -> JsonResponse:
        row = await row_of(await spec_of(function_id))
        return JsonResponse(row | {"backlog": await backlog(engine, function_id)})

    @router.post(
        "/functions/{function_id}/pause",
        summary="Pause a function: no new runs start, live runs continue",
        responses=answers(Done, 404),
    )
    async def pause(function_id: str) -> JsonResponse:
        await engine.registry.pause((await spec_of(function_id)).function_id, paused=True)
        return JsonResponse({"ok": True})

    @router.post(
        "/functions/{function_id}/resume",
        summary="Resume a function: events start runs of it again",
        responses=answers(Done, 404),
    )
    async def resume(function_id: str) -> JsonResponse:
        await engine.registry.pause((await spec_of(function_id)).function_id, paused=False)
        return JsonResponse({"ok": True})

    @router.post(
        "/functions/{function_id}/trigger",
        summary="Run a function by hand, whatever its triggers",
        responses=answers(Started, 400, 404, 409),
    )
    async def trigger(function_id: str, body: TriggerBody | None = None) -> JsonResponse:
        how = body or TriggerBody()
        event_id = ulid(to_ms(engine.clock.now()), engine.random_source.random_bytes(10))
        run_id = await engine.starts.start(function_id, how.data, event_id, at=how.at)
        return JsonResponse({"run_id": run_id})

    _add_apps(router, backend)
    _add_others(router, backend)
    return router


def _add_apps(router: APIRouter, backend: Backend) -> None:
    engine = backend.engine

    @router.get("/apps", summary="All apps", responses=answers(AppList))
    async def apps() -> JsonResponse:
        listed = (await engine.registry.snapshot()).apps.values()
        return JsonResponse({"apps": [app_row(app) for app in sorted(listed, key=lambda app: app.app_id)]})

    @router.post("/apps", summary="Ask the app at a URL to register", responses=answers(AppRow, 502))
    async def add(body: AddAppBody) -> JsonResponse:
        if backend.sync_url is None:
            raise Refused(400, "MP319", "Apps of this stack are registered when they are deployed, not by URL.")
        app_id = await backend.sync_url(body.url)
        return JsonResponse(app_row((await engine.registry.snapshot()).apps[app_id]))

    @router.delete(
        "/apps/{app_id}",
        summary="Remove an app; its live runs continue while it answers",
        responses=answers(Done, 404),
    )
    async def remove(app_id: str) -> JsonResponse:
        if app_id not in (await engine.registry.snapshot()).apps:
            raise Refused(404, "MP308", f"There is no app {app_id!r}.")
        await engine.registry.remove(app_id)
        return JsonResponse({"ok": True})


def _add_others(router: APIRouter, backend: Backend) -> None:
    @router.get(
        "/info", summary="The server's version, mode and capabilities", tags=["console"], responses=answers(ServerInfo)
    )
    async def info() -> JsonResponse:
        can = {
            "send": True,
            "trigger": True,
            "pause": True,
            "cancel": True,
            "replay": True,
            "erase": True,
            "stream": backend.mode == "dev",
            "dead_letters": backend.dead_letters is not None,
            "add_app": backend.sync_url is not None,
        }
        now = iso(backend.engine.clock.now())
        return JsonResponse(
            {"version": __version__, "mode": backend.mode, "stack": backend.stack, "now": now, "can": can}
        )

    @router.get(
        "/dead-letters",
        summary="List dead letters: messages that failed too often",
        tags=["console"],
        responses=answers(DeadLetterList, 400),
    )
    async def dead_letters(limit: int = 100) -> JsonResponse:
        if backend.dead_letters is None:
            raise Refused(400, "MP319", "This server cannot read dead letters; use the queue's own console.")
        letters = await backend.dead_letters.dead_letters(max(1, min(limit, 1000)))
        return JsonResponse({"dead_letters": [_letter_row(letter) for letter in letters]})

    @router.post(
        "/dead-letters/redrive",
        summary="Deliver dead letters again",
        tags=["console"],
        responses=answers(Redriven, 400),
    )
    async def redrive(body: RedriveBody | None = None) -> JsonResponse:
        if backend.dead_letters is None:
            raise Refused(400, "MP319", "This server cannot redrive dead letters; use the queue's own console.")
        return JsonResponse({"count": await backend.dead_letters.redrive(body.ids if body else None)})


def _letter_row(letter: DeadLetter) -> dict[str, Json]:
    return {
        "id": letter.id,
        "queue": letter.queue,
        "body": letter.body,
        "receive_count": letter.receive_count,
        "problem": letter.problem,
        "dead_at": iso(letter.dead_at),
        "sent_at": iso(letter.sent_at),
    }


def app_row(app: RegisteredApp) -> dict[str, Json]:
    """An app as a list row."""
    return {
        "app_id": app.app_id,
        "target": {"kind": app.target.kind, "address": app.target.address},
        "version": app.version,
        "app_version": app.shown_version,
        "synced_at": iso(app.synced_at),
        "sdk": app.sdk,
        "error": app.error,
        "functions": [spec.function_id for spec in app.functions],
        "webhooks": webhooks_of(app),
    }
