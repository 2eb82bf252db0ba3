"""PutEvents of Amazon EventBridge at `POST /`, for code that sends with an AWS SDK.

`boto3.client("events", endpoint_url="http://127.0.0.1:8288")` works unchanged: the detail type becomes the event's
name, the detail its data, and the source is in `event.meta.source`. Each entry is accepted or refused on its own. The
bus that an entry names is ignored.
Source: "PutEvents" in the Amazon EventBridge API reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from milepost_engine.codec import Json, loads
from milepost_engine.core.ids import to_ms, ulid

from .backend import Backend
from .description import answers, schema_of, takes
from .problems import JsonResponse
from .wire_models import PutEventsAnswer, PutEventsBody, PutEventsRefused

__all__ = ["eventbridge_router"]

MAX_ENTRIES: Final = 10
_PREFIX: Final = "AWSEvents."
_KIND: Final = "application/x-amz-json-1.1"


class _AmazonJson(JsonResponse):
    media_type = _KIND


def eventbridge_router(backend: Backend) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["events"])

    def answer(body: Mapping[str, Json], status: int = 200) -> Response:
        request_id = ulid(to_ms(backend.engine.clock.now()), backend.engine.random_source.random_bytes(10))
        return _AmazonJson(body, status, headers={"x-amzn-requestid": request_id})

    def refuse(kind: str, message: str) -> Response:
        return answer({"__type": kind, "message": message}, 400)

    @router.post(
        "/",
        summary="PutEvents, as in Amazon EventBridge",
        response_class=_AmazonJson,
        responses=answers(PutEventsAnswer, 400, refused=PutEventsRefused),
        openapi_extra=takes(schema_of(PutEventsBody), _KIND, required=True),
    )
    async def put_events(request: Request) -> Response:
        """For code that sends with boto3. Other operations are refused."""
        target = request.headers.get("x-amz-target", "")
        if target != _PREFIX + "PutEvents":
            what = target.removeprefix(_PREFIX) or "a request without x-amz-target"
            return refuse("UnknownOperationException", f"the dev server only supports PutEvents, not {what}")
        try:
            body = loads(await request.body())
        except ValueError as error:
            return refuse("SerializationException", f"the body is not JSON: {error}")
        entries = body.get("Entries") if isinstance(body, Mapping) else None
        if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_ENTRIES:
            return refuse("ValidationException", f"Entries must be a list of 1 to {MAX_ENTRIES} entries")
        results = [await _put(backend, entry) for entry in entries]
        return answer({"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results})

    return router


async def _put(backend: Backend, entry: Json) -> dict[str, Json]:
    """One entry: its event's id, or why it was refused."""
    event = _read(entry)
    if isinstance(event, _Problem):
        return event
    read = await backend.engine.accept(event)
    if read.problem:
        return _Problem("InvalidArgument", read.problem)
    return {"EventId": read.events[0].event_id}


class _Problem(dict[str, Json]):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(ErrorCode=code, ErrorMessage=message)


def _read(entry: Json) -> Mapping[str, Json] | _Problem:
    if not isinstance(entry, Mapping):
        return _Problem("InvalidArgument", "The entry is not an object.")
    for name in ("Source", "DetailType", "Detail"):
        value = entry.get(name)
        if not isinstance(value, str) or not value:
            return _Problem("InvalidArgument", f"Parameter {name} is not valid. Reason: {name} is a required argument.")
    try:
        detail = loads(str(entry["Detail"]))
    except ValueError:
        detail = None
    if not isinstance(detail, Mapping):
        return _Problem("MalformedDetail", "Detail is malformed. Reason: it is not a JSON object.")
    event: dict[str, Json] = {"name": entry["DetailType"], "data": detail, "meta": {"source": entry["Source"]}}
    moment = entry.get("Time")
    if isinstance(moment, int | float) and not isinstance(moment, bool):
        # botocore's JSON protocol carries timestamps as seconds since 1970.
        event["ts"] = int(moment * 1000)
    return event
