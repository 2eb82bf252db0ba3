"""Accepts events at `POST /e/{key}`, and runs one function by hand (protocol §3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from milepost.protocol import MAX_EVENTS_PER_REQUEST, Header
from milepost_engine.codec import loads
from milepost_engine.core.ids import to_ms, ulid
from milepost_engine.http.endpoints import accept_events
from milepost_engine.operations.actions import OperationError

from .backend import Backend
from .description import TextJson, answers, schema_of, takes
from .problems import bare
from .protocol import as_response
from .wire_models import EventsRefused, EventsTaken, InvokeBody, Invoked, InvokeRefused, SentEvent

__all__ = ["intake_router"]

_EVENT: Final = schema_of(SentEvent)
_EVENTS: Final = {"anyOf": [_EVENT, {"type": "array", "items": _EVENT, "maxItems": MAX_EVENTS_PER_REQUEST}]}

_REFUSED: Final = {"MP308": 404, "MP309": 409}


def intake_router(backend: Backend) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["events"])
    kind = {Header.SERVER_KIND.value: backend.server_kind}

    def answer(body: Mapping[str, object], status: int = 200) -> Response:
        return TextJson(body, status, headers=kind)

    @router.post(
        "/e/{key}",
        summary="Accept one event, or a list of up to 5,000 (10 MB)",
        response_class=TextJson,
        responses=answers(EventsTaken, 400, refused=EventsRefused),
        openapi_extra=takes(_EVENTS),
    )
    async def accept(key: str, request: Request) -> Response:  # noqa: ARG001 - any key is accepted
        """Events are accepted up to the first invalid one; that one and those after it are not."""
        seed = request.headers.get(Header.EVENT_ID_SEED.value, "")
        return as_response(backend, await accept_events(backend.engine, await request.body(), seed))

    @router.post(
        "/invoke/{slug}",
        summary="Run one function by hand, whatever its triggers",
        response_class=TextJson,
        responses=answers(Invoked, 400, 404, 409, refused=InvokeRefused),
        openapi_extra=takes(schema_of(InvokeBody)),
    )
    async def invoke(slug: str, request: Request) -> Response:
        """The body is `{"data": {…}}`; the answer has the id of the event created for the run."""
        try:
            body = loads(await request.body() or b"{}")
        except ValueError as error:
            return answer({"error": f"the body is not JSON: {error}", "status": 400}, 400)
        data = body.get("data", {}) if isinstance(body, Mapping) else None
        if not isinstance(data, Mapping):
            return answer({"error": "data must be an object", "status": 400}, 400)
        engine = backend.engine
        event_id = ulid(to_ms(engine.clock.now()), engine.random_source.random_bytes(10))
        try:
            await engine.starts.start(slug, data, event_id)
        except OperationError as refused:
            if (status := _REFUSED.get(refused.code)) is None:
                raise
            unknown = f"could not find function with ID: {slug}"
            why = unknown if status == 404 else bare(refused.code, refused)
            return answer({"error": why, "status": status}, status)
        return answer({"id": event_id, "status": 200})

    return router
