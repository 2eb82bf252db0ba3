"""`POST /webhooks/{name}`: signed requests from other services, which the webhook's app turns into events."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from milepost_engine.http.webhooks import receive_webhook

from .backend import Backend
from .description import answers, reference, takes
from .models import WebhookProblem
from .problems import JsonResponse
from .wire_models import EventsTaken

__all__ = ["webhooks_router"]


def webhooks_router(backend: Backend) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["events"])

    @router.post(
        "/webhooks/{name}",
        summary="Turn a signed request from another service into events",
        responses=answers(EventsTaken, 400, 401, 404, 409, 502) | {422: reference(WebhookProblem)},
        openapi_extra=takes({}, "*/*"),
    )
    async def receive(name: str, request: Request) -> Response:
        """401: the signature is missing or wrong. 422: the app's code cannot handle the payload."""
        body = await request.body()
        ids = await receive_webhook(backend.engine, backend.invokers, name, request.headers, body)
        return JsonResponse({"ids": ids, "status": 200})

    return router
