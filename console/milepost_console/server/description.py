"""How the API is described at /api/openapi.json: what FastAPI cannot see by itself.

FastAPI reads parameters and bodies from the routes. The routes name the shapes of their answers and refusals with
`answers`, and those of bodies that they read themselves with `takes`; `describe` adds what the guard and the error
handlers do at every address. All of this is read when somebody asks for the description, never when a request is
served: answers are neither checked nor written by these shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .models import Problem, WebhookProblem
from .problems import JsonResponse
from .wire_models import CheckpointBody, InvokeBody, PutEventsBody, RegisterBody, RegisterRefused, SentEvent

__all__ = ["ANY_REFUSAL", "TEXT", "TextJson", "answers", "describe", "reference", "schema_of", "takes"]

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
_PLACE: Final = "#/components/schemas/{model}"
_NAMED: Final = (
    CheckpointBody, InvokeBody, Problem, PutEventsBody, RegisterBody, RegisterRefused, SentEvent, WebhookProblem,
)  # fmt: skip
"""Those that routes name by `reference`: FastAPI does not see them."""

_HEADER: Final = {"name": "X-Milepost", "in": "header", "required": True, "schema": {"const": "1"}}

Description = dict[str, Any]
Answers = dict[int | str, Description]


class TextJson(JsonResponse):
    """JSON that is sent as plain text, as SDKs of the protocol know it."""

    media_type = TEXT


def schema_of(model: type[BaseModel]) -> Description:
    """Where the shape is described. The model must stand in `_NAMED`."""
    return {"$ref": _PLACE.format(model=model.__name__)}


def reference(model: type[BaseModel], media_type: str = JSON) -> Description:
    """An answer of this shape, in a media type that is not the route's own."""
    return {"content": {media_type: {"schema": schema_of(model)}}}


def answers(model: object, *refusals: int, refused: object = None) -> Answers:
    """The `responses=` of a route: the shape of its 200 (None: it is empty), and the statuses with which it refuses.

    `refused` is the shape of the refusals, in the route's own media type; a Problem by default.
    """
    refusal: Description = reference(Problem) if refused is None else {"model": refused}
    found: Answers = {} if model is None else {200: {"model": model}}
    return found | {status: dict(refusal) for status in refusals}


def takes(schema: Description, *media_types: str, required: bool = False) -> Description:
    """The `openapi_extra=` of a route that reads its body itself."""
    content = {kind: {"schema": schema} for kind in media_types or (JSON,)}
    return {"requestBody": {"content": content, **({"required": True} if required else {})}}


ANY_REFUSAL: Final[Answers] = {
    "default": {"description": "Any other refusal; 500: the server failed.", **reference(Problem)}
}
"""Of every route. It also keeps FastAPI from adding a 422 of a shape that is never sent."""


def describe(app: FastAPI) -> None:
    """Complete the app's description."""
    made = app.openapi
    complete: list[Description] = []

    def openapi() -> Description:
        if not complete:
            complete.append(_completed(made()))
        return complete[0]

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(described: Description) -> Description:
    _, found = models_json_schema([(model, "validation") for model in _NAMED], ref_template=_PLACE)
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
    """Let a response be a Problem, beside what the route itself may answer with that status."""
    content = response.setdefault("content", {}).setdefault(JSON, {})
    own, problem = content.get("schema"), schema_of(Problem)
    content["schema"] = problem if own is None or own == problem else {"anyOf": [own, problem]}


def _is_change(path: str, method: str) -> bool:
    return path.startswith("/api/") and method != "get"


def _refused_everywhere(path: str, method: str, operation: Mapping[str, Any]) -> dict[str, str]:
    """Statuses that the guard and the error handlers answer with, wherever such a request goes."""
    own, body = path.startswith("/api/"), "requestBody" in operation
    header = ", or the header X-Milepost is missing" if _is_change(path, method) else ""
    found = {"403": f"Another host or origin asks{header}."}
    if (own and body) or any(given["in"] == "query" for given in operation.get("parameters", ())):
        found["400"] = "The request cannot be read; each wrong field is named."
    if body:
        found["413"] = "The body is too large."
    if own and body:
        found["415"] = "The body is not said to be JSON."
    return found
