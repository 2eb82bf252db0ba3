"""Completes the API description at /api/openapi.json with what FastAPI cannot infer.

FastAPI reads parameters and bodies from the routes. Routes declare the shapes of their answers and refusals with
`answers`, and of bodies that they parse themselves with `takes`; `describe` adds what the guard and the error handlers
do at every address. These shapes serve the description only: answers are neither validated nor serialised by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .models import Problem, WebhookProblem
from .problems import JsonResponse
from .wire_models import (
    CancelRunBody,
    CheckpointBody,
    InvokeBody,
    PutEventsBody,
    RegisterBody,
    RegisterRefused,
    SentEvent,
    StartRunBody,
)

__all__ = ["ANY_REFUSAL", "TEXT", "TextJson", "answers", "describe", "reference", "schema_of", "takes"]

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
_SCHEMA: Final = "#/components/schemas/{model}"
_NAMED: Final = (
    CancelRunBody, CheckpointBody, InvokeBody, Problem, PutEventsBody, RegisterBody, RegisterRefused, SentEvent,
    StartRunBody, WebhookProblem,
)  # fmt: skip
"""Models that routes use by `reference`, which FastAPI does not see."""

_HEADER: Final = {"name": "X-Milepost", "in": "header", "required": True, "schema": {"const": "1"}}

Description = dict[str, Any]
Answers = dict[int | str, Description]


class TextJson(JsonResponse):
    """JSON sent as plain text, as the protocol's SDKs expect."""

    media_type = TEXT


def schema_of(model: type[BaseModel]) -> Description:
    """A reference to the model's schema. The model must be listed in `_NAMED`."""
    return {"$ref": _SCHEMA.format(model=model.__name__)}


def reference(model: type[BaseModel], media_type: str = JSON) -> Description:
    """An answer of this shape, in a media type other than the route's."""
    return {"content": {media_type: {"schema": schema_of(model)}}}


def answers(model: object, *refusals: int, refused: object = None) -> Answers:
    """A route's `responses=`: the shape of its 200 (None: empty), and the statuses of its refusals.

    `refused` is the shape of refusals, in the route's media type; `Problem` by default.
    """
    refusal: Description = reference(Problem) if refused is None else {"model": refused}
    found: Answers = {} if model is None else {200: {"model": model}}
    return found | {status: dict(refusal) for status in refusals}


def takes(schema: Description, *media_types: str, required: bool = False) -> Description:
    """A route's `openapi_extra=`, if it parses its body itself."""
    content = {kind: {"schema": schema} for kind in media_types or (JSON,)}
    return {"requestBody": {"content": content, **({"required": True} if required else {})}}


ANY_REFUSAL: Final[Answers] = {
    "default": {"description": "Any other refusal; 500 means that the server failed.", **reference(Problem)}
}
"""On every route. It also keeps FastAPI from adding a 422 whose shape is never sent."""


def describe(app: FastAPI) -> None:
    """Complete the app's API description."""
    made = app.openapi
    complete: list[Description] = []

    def openapi() -> Description:
        if not complete:
            complete.append(_completed(made()))
        return complete[0]

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(described: Description) -> Description:
    _, found = models_json_schema([(model, "validation") for model in _NAMED], ref_template=_SCHEMA)
    schemas = described.setdefault("components", {}).setdefault("schemas", {})
    schemas.update({name: schema for name, schema in found["$defs"].items() if name not in schemas})
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            for status, what in _refused_everywhere(path, method, operation).items():
                _add_problem(operation["responses"].setdefault(status, {"description": what}))
            if _is_change(path, method):
                operation.setdefault("parameters", []).append(_HEADER)
    return described


def _add_problem(response: Description) -> None:
    """Allow a `Problem` in addition to the route's own answers with that status."""
    content = response.setdefault("content", {}).setdefault(JSON, {})
    own, problem = content.get("schema"), schema_of(Problem)
    content["schema"] = problem if own is None or own == problem else {"anyOf": [own, problem]}


def _is_change(path: str, method: str) -> bool:
    return path.startswith("/api/") and method != "get"


def _refused_everywhere(path: str, method: str, operation: Mapping[str, Any]) -> dict[str, str]:
    """Statuses that the guard and the error handlers use on every such request."""
    own, body = path.startswith("/api/"), "requestBody" in operation
    header = ", or the header X-Milepost is missing" if _is_change(path, method) else ""
    found = {"403": f"The Host or Origin header is not this server's{header}."}
    if (own and body) or any(given["in"] == "query" for given in operation.get("parameters", ())):
        found["400"] = "The request cannot be read; each wrong field is named."
    if body:
        found["413"] = "The body is too large."
    if own and body:
        found["415"] = "The Content-Type header is not application/json."
    return found
