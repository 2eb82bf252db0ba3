"""`POST /webhooks/{name}`: what other services send becomes events, by code of the user's app.

The app is called through its own transport with the request as it came, `?webhook=<name>`; it verifies the signature
with a secret that only it knows, and answers with events. They are taken in before the sender gets its 200, so that a
sender that repeats what failed loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from milepost_engine import ports
from milepost_engine.codec import Json, loads
from milepost_engine.registry import App

from .api_functions import webhooks_of
from .backend import Backend
from .problems import JsonResponse, Refused

__all__ = ["webhooks_router"]

_LEFT_OUT: Final = frozenset(
    {"connection", "content-length", "host", "keep-alive", "te", "transfer-encoding", "upgrade"}
)


def webhooks_router(backend: Backend) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["events"])

    @router.post("/webhooks/{name}", summary="Turn a signed request of another service into events")
    async def receive(name: str, request: Request) -> Response:
        """401: the signature is missing or wrong. 422: the app's code cannot read the payload."""
        app = await _app_with(backend, name)
        headers = {key.lower(): value for key, value in request.headers.items() if key.lower() not in _LEFT_OUT}
        call = ports.Request({"webhook": name}, headers, await request.body())
        try:
            answer = await backend.invokers[app.target.kind].invoke(app.target, call)
        except ports.InvocationProblem as problem:
            raise Refused(502, "MP321", f"App {app.app_id!r} could not read the webhook: {problem.detail}") from problem
        body = _body(answer)
        if answer.status != 200:
            message = str(body.get("message") or f"app {app.app_id!r} answered HTTP {answer.status}")
            raise Refused(answer.status if 400 <= answer.status < 500 else 502, "MP318", message)
        events = body.get("events")
        if events == []:
            return JsonResponse({"ids": [], "status": 200})
        read = await backend.engine.accept(events)
        ids = [event.event_id for event in read.events]
        if read.problem:
            message = f"The events that webhook {name!r} of app {app.app_id!r} made cannot be accepted: {read.problem}"
            return JsonResponse({"code": "MP318", "error": message, "ids": ids}, 422)
        return JsonResponse({"ids": ids, "status": 200})

    return router


async def _app_with(backend: Backend, name: str) -> App:
    apps = (await backend.engine.registry.snapshot()).apps.values()
    found = [app for app in apps if name in webhooks_of(app)]
    if len(found) == 1:
        return found[0]
    if found:
        owners = ", ".join(repr(app.app_id) for app in found)
        raise Refused(409, "MP317", f"Several apps have a webhook {name!r}: {owners}. Rename all but one.")
    known = ", ".join(sorted(f"{hook!r}" for app in apps for hook in webhooks_of(app))) or "none"
    raise Refused(404, "MP317", f"No app has a webhook {name!r}. Known are: {known}.")


def _body(answer: ports.Response) -> Mapping[str, Json]:
    try:
        body = loads(answer.body)
    except ValueError:
        return {}
    return body if isinstance(body, Mapping) else {}
