"""The endpoints that SDKs call (protocol §2.1, §2.12, §3.3): registration, a run's state, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from fastapi import APIRouter, Request
from starlette.responses import Response

from milepost import __version__
from milepost.protocol import MAX_STATE_BYTES, MAX_STEP_OUTPUT_BYTES, Header
from milepost_engine.calls import memo_json
from milepost_engine.checkpoints import Refusal
from milepost_engine.codec import Json, dumps, loads
from milepost_engine.core.ids import from_ms, is_ulid, short_hash
from milepost_engine.core.run import Run
from milepost_engine.manifest import ManifestError
from milepost_engine.ports import Target
from milepost_engine.queries import iso

from .backend import Backend
from .problems import JsonResponse

__all__ = ["normal_url", "protocol_router", "register"]

_SAME_HOST: Final = frozenset({"localhost", "0.0.0.0", "[::1]", "::1"})  # noqa: S104 - names to be normalised
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_NOT_ADDRESS: Final = frozenset({"deployId", "probe", "fnId", "stepId"})


def normal_url(url: str) -> str:
    """One spelling for each address: names of this machine, default ports and transient parameters do not count.

    Raises ValueError when it is no HTTP address.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is no address such as http://127.0.0.1:8000/api/milepost")
    host = "127.0.0.1" if parts.hostname in _SAME_HOST else parts.hostname
    host = f"[{host}]" if ":" in host else host
    port = parts.port
    where = host if port is None or port == _DEFAULT_PORTS[parts.scheme] else f"{host}:{port}"
    query = urlencode([(key, value) for key, value in parse_qsl(parts.query) if key not in _NOT_ADDRESS])
    return urlunsplit((parts.scheme, where, parts.path or "/", query, ""))


async def register(backend: Backend, manifest: Mapping[str, Json], url: str) -> tuple[str, bool]:
    """Register an HTTP app; its id and whether anything changed. Raises ManifestError, and remembers its text."""
    registry = backend.engine.registry
    target = Target("http", normal_url(url))
    app_id = str(manifest.get("appName") or manifest.get("appname") or "")
    known = (await registry.snapshot()).apps.get(app_id)
    try:
        app = await registry.sync(manifest, target)
    except ManifestError as error:
        if app_id:
            await registry.fail_sync(app_id, target, str(error))
        raise
    # The same app under a new name leaves nothing behind under the old one.
    for other in (await registry.snapshot()).apps.values():
        if other.target == target and other.app_id != app_id:
            await registry.remove(other.app_id)
    backend.live.tell("app", {"app_id": app.app_id, "version": app.version, "error": ""})
    return app.app_id, known is None or known.version != app.version


def protocol_router(backend: Backend) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["sdk protocol"])
    answers = _Answers(backend)
    _add_registration(router, backend, answers)
    _add_state(router, backend, answers)
    _add_checkpoints(router, backend, answers)

    @router.get("/health", summary="Whether the server answers")
    async def health() -> Response:
        return answers.json({"status": 200, "message": "OK"})

    @router.get("/dev", summary="What the dev server serves")
    async def dev() -> Response:
        return answers.json(await _describe(backend))

    return router


class _Answers:
    """Answers in the shapes of the protocol; each names the kind of this server."""

    def __init__(self, backend: Backend) -> None:
        self.headers = {Header.SERVER_KIND.value: backend.server_kind}

    def json(self, body: Json, status: int = 200) -> Response:
        return JsonResponse(body, status, headers=self.headers)

    def refuse(self, error: str, status: int, data: Json = None, *, plain: bool = False, **more: Json) -> Response:
        body = {"error": error, "data": data, "status": status, **more}
        media_type = "text/plain; charset=utf-8" if plain else "application/json"
        return JsonResponse(body, status, headers=self.headers, media_type=media_type)


def _add_registration(router: APIRouter, backend: Backend, answers: _Answers) -> None:
    def refuse(error: str, **more: Json) -> Response:
        return answers.refuse(error, 400, plain=True, **more)

    @router.post("/fn/register", summary="Register an HTTP app (sent by its SDK)")
    async def sync(request: Request) -> Response:
        expected = request.headers.get(Header.EXPECTED_SERVER_KIND.value)
        if expected and expected != backend.server_kind:
            return refuse(f"Expected server kind {expected}, got {backend.server_kind}")
        try:
            body = loads(await request.body())
        except ValueError:
            return refuse("Invalid request: unexpected EOF")
        if not isinstance(body, Mapping):
            return refuse("Invalid request: not an object")
        manifest = cast("Mapping[str, Json]", body)
        if not (manifest.get("appName") or manifest.get("appname")):
            return refuse("App ID required")
        try:
            app_id, modified = await register(backend, manifest, str(manifest.get("url") or ""))
        except ManifestError as error:
            return refuse("At least one function is invalid", problems=list(error.problems))
        except ValueError as error:
            return refuse(str(error))
        ids = {"sync_id": _uuid(app_id, "sync"), "app_id": _uuid(app_id)}
        return answers.json({"ok": True, "modified": modified, **ids})


def _add_state(router: APIRouter, backend: Backend, answers: _Answers) -> None:
    engine = backend.engine

    async def live_run(run_id: str) -> Run | Response:
        run = await engine.runs.load(run_id) if is_ulid(run_id) else None
        if run is None:
            return answers.refuse(f"there is no run {run_id}", 404)
        if run.status.ended:
            return answers.refuse(f"runtime state is no longer available for runID: {run_id}", 410)
        return run

    @router.get("/v0/runs/{run_id}/actions", summary="A live run's remembered steps")
    async def actions(run_id: str) -> Response:
        run = await live_run(run_id)
        if isinstance(run, Response):
            return run
        body = await memo_json(run, run.order, engine.values)
        return Response(body, media_type="application/json", headers=answers.headers)

    @router.get("/v0/runs/{run_id}/batch", summary="A live run's events")
    async def batch(run_id: str) -> Response:
        run = await live_run(run_id)
        if isinstance(run, Response):
            return run
        events = [await engine.events.load(event_id) for event_id in run.event_ids]
        return answers.json([event.wire() for event in events if event is not None])


def _add_checkpoints(router: APIRouter, backend: Backend, answers: _Answers) -> None:
    engine = backend.engine

    @router.post("/v1/checkpoint/{run_id}/async", summary="Save finished steps of a running invocation")
    async def checkpoint(run_id: str, request: Request) -> Response:
        about = {"run_id": run_id}
        try:
            body = loads(await request.body())
        except ValueError as error:
            return answers.refuse(f"the body is not JSON: {error}", 400, about)
        steps = body.get("steps") if isinstance(body, Mapping) else None
        if not isinstance(body, Mapping) or not isinstance(steps, list):
            return answers.refuse("steps must be a list of ops", 400, about)
        problem = _too_large(steps)
        if problem:
            return answers.refuse(problem, 413, about)
        began = body.get("request_started_at")
        now = engine.clock.now()
        started_at = from_ms(began) if isinstance(began, int) and 0 < began < 2**47 else now
        session = await engine.checkpoints(run_id, min(started_at, now))
        try:
            refusal = session if isinstance(session, Refusal) else await session.save(steps)
        except ValueError as error:
            return answers.refuse(str(error), 400, about)
        if refusal is None:
            return Response(status_code=200, headers=answers.headers)
        return answers.refuse(f"the run is {refusal.value}; stop", 404 if refusal is Refusal.GONE else 409, about)


def _too_large(steps: list[Json]) -> str:
    sizes = [len(dumps(step.get("data"))) for step in steps if isinstance(step, Mapping)]
    if any(size > MAX_STEP_OUTPUT_BYTES for size in sizes):
        return f"a step has more than {MAX_STEP_OUTPUT_BYTES} bytes"
    return f"the steps have more than {MAX_STATE_BYTES} bytes" if sum(sizes) > MAX_STATE_BYTES else ""


async def _describe(backend: Backend) -> dict[str, Json]:
    """The answer of `GET /dev`, which tools look for."""
    snapshot = await backend.engine.registry.snapshot()
    functions = [
        {
            "id": _uuid(spec.function_id),
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


def _uuid(*parts: str) -> str:
    """An id in the shape that other tools expect, always the same for the same parts."""
    digits = (short_hash(*parts) + short_hash("uuid", *parts))[:32]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
