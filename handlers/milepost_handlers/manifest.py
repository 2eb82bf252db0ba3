"""Registers apps at deploy, as the Lambda of a CloudFormation custom resource.

    Create, Update   ask the app at `Address` for its manifest and store it: new runs start on that version
    Delete           remove the app, unless it is registered at another address, or by another resource, by now
Errors are reported to CloudFormation: the deployment fails with the message and rolls back to the previous version.
Source: "Custom resource request and response objects" in the CloudFormation user guide.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

from milepost_engine.http.app_sync import sync_app
from milepost_engine.ports import Target

from .kept_code import RESOURCE_TYPE, check_removed
from .metrics import logger
from .wiring import Deployment, deployment, traced

__all__ = ["handler"]

_NOTHING: Final = "app:none"
_PREFIX: Final = "app:"
_MOST_REASON_BYTES: Final = 3000
"""CloudFormation accepts answers of up to 4096 bytes."""
_ANSWER_SECONDS: Final = 10


@traced
def handler(event: Mapping[str, Any], context: Any) -> None:  # noqa: ARG001 - Lambda's shape
    """Called by CloudFormation, which expects the answer at a URL, not as the return value."""
    resource, reason = str(event.get("PhysicalResourceId") or _NOTHING), ""
    attributes: Mapping[str, Any] = {}
    try:
        here = deployment()
        if event.get("ResourceType") == RESOURCE_TYPE:
            resource = here.run(_keep(here, event))
        else:
            resource, attributes = here.run(_apply(here, event, resource))
    except Exception as error:  # noqa: BLE001 - without an answer the deployment hangs until its timeout
        logger.exception("registration failed")
        reason = str(error) or type(error).__name__
    _answer(event, resource, reason, attributes)


async def _keep(here: Deployment, event: Mapping[str, Any]) -> str:
    await here.ready()
    return await check_removed(here, event)


async def _apply(here: Deployment, event: Mapping[str, Any], resource: str) -> tuple[str, dict[str, Any]]:
    """Registers or removes the app; returns the resource's id and attributes."""
    await here.ready()
    properties = event["ResourceProperties"]
    address = str(properties["Address"])
    made_by = str(event["LogicalResourceId"])
    registry = here.engine.registry
    if event["RequestType"] == "Delete":
        app_id = resource.removeprefix(_PREFIX)
        known = (await registry.snapshot()).apps.get(app_id)
        if known is not None and known.target.address == address and known.made_by in {"", made_by}:
            await registry.remove(app_id)
            logger.info("app removed", extra={"app_id": app_id})
        return resource, {}
    reports = properties.get("Reports") == "true"
    target = Target("lambda", address, float(properties["TimeoutSeconds"]), reports)
    app = await sync_app(here.engine, here.invokers["lambda"], target, made_by=made_by)
    functions = [spec.function_id for spec in app.functions]
    logger.info("app registered", extra={"app_id": app.app_id, "functions": functions, "version": app.version})
    return f"{_PREFIX}{app.app_id}", {"AppId": app.app_id, "Functions": str(len(functions))}


def _answer(event: Mapping[str, Any], resource: str, reason: str, attributes: Mapping[str, Any]) -> None:
    body = {
        "Status": "FAILED" if reason else "SUCCESS",
        "Reason": reason.encode()[:_MOST_REASON_BYTES].decode("utf-8", "ignore"),
        "PhysicalResourceId": resource,
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "Data": dict(attributes),
    }
    # The URL is signed for a request without a content type.
    request = urllib.request.Request(  # noqa: S310 - CloudFormation's own URL
        event["ResponseURL"], json.dumps(body).encode(), {"Content-Type": ""}, method="PUT"
    )
    with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS):  # noqa: S310 - as above
        pass
