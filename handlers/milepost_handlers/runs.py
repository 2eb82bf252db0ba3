"""Starts, shows and cancels runs for callers that IAM allows to invoke this Lambda: the SDK, for `Function.start`.

    event     {"method": "POST", "path": "/v1/functions/shop-order/runs", "body": {…} or null}
    answer    {"status": 200, "body": {…}}
An error that the caller should retry, such as a table of another version, fails the invocation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from milepost_engine.codec import dumps, loads
from milepost_engine.http.endpoints import Answer
from milepost_engine.http.run_endpoints import answer_run_request

from .wiring import Deployment, deployment, traced

__all__ = ["handler"]


@traced
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's shape
    """Called by an app with one request."""
    here = deployment()
    answer = here.run(_answer(here, event))
    return {"status": answer.status, "body": loads(answer.body)}


async def _answer(here: Deployment, event: Mapping[str, Any]) -> Answer:
    await here.ready()
    body = event.get("body")
    raw = b"" if body is None else dumps(body)
    return await answer_run_request(here.engine, str(event.get("method")), str(event.get("path")), raw)
