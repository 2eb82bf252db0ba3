"""Refuses a deployment that would delete Lambdas on which runs are live, as a CloudFormation custom resource.

    Create, Delete    nothing to look for: nothing is removed yet, or everything on purpose
    Update            the Lambdas of the old template that the new one lacks: does a live run stay on one of them?
Rollbacks pass: what they remove was made by the deployment that failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from milepost_engine.operations.live_runs import LiveRuns, NotCountedInTime

from .metrics import logger
from .wiring import Deployment

__all__ = ["RESOURCE_TYPE", "CodeInUse", "check_removed"]

RESOURCE_TYPE: Final = "Custom::MilepostCode"
_RESOURCE_ID: Final = "code"
_SEARCH_TIME: Final = timedelta(seconds=90)
_MOST_NAMED: Final = 5


class CodeInUse(Exception):
    """A deployment would delete the code of live runs."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"[MP508] This deployment would delete Lambdas on which runs are live: {found}. They would fail at their "
            "next step. Put the app back; or wait until its runs have ended, or cancel them (milepost runs cancel "
            "--all --app APP), and deploy again. To let them fail, name the app in Milepost(abandoned_apps=[…])."
        )


async def check_removed(here: Deployment, event: Mapping[str, Any]) -> str:
    """The resource's id. Raises CodeInUse."""
    if event["RequestType"] == "Update":
        properties = event["ResourceProperties"]
        removed = set(_functions(event["OldResourceProperties"])) - set(_functions(properties))
        if removed and not await asyncio.to_thread(_rolls_back, str(event["StackId"])):
            await _search(here, removed, set(properties.get("Abandoned") or ()))
    return _RESOURCE_ID


def _functions(properties: Mapping[str, Any]) -> Sequence[str]:
    return [str(arn) for arn in properties.get("Functions") or ()]


async def _search(here: Deployment, removed: Collection[str], abandoned: Collection[str]) -> None:
    """Raises CodeInUse when a run is live on a version of one of these Lambdas."""
    deadline: datetime = here.clock.now() + _SEARCH_TIME
    live = LiveRuns(here.table, here.engine.registry, here.clock)
    try:
        found = await live.on(removed, abandoned, most=_MOST_NAMED + 1, deadline=deadline)
    except NotCountedInTime as late:
        raise CodeInUse(str(late)) from None
    logger.info("looked for runs on removed Lambdas", extra={"removed": sorted(removed), "found": len(found)})
    if found:
        named = [f"{run.function_id} {run.run_id}" for run in found[:_MOST_NAMED]]
        raise CodeInUse(", ".join([*named, *(["and more"] if len(found) > _MOST_NAMED else [])]))


def _rolls_back(stack_id: str) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - few deployments need it
    from botocore.session import get_session  # noqa: PLC0415 - as above

    client = get_session().create_client("cloudformation")
    try:
        stacks = client.describe_stacks(StackName=stack_id)["Stacks"]
        return "ROLLBACK" in str(stacks[0]["StackStatus"])
    except (BotoCoreError, ClientError) as problem:
        logger.warning("the state of the stack is not known; taken for a deployment", exc_info=problem)
        return False
    finally:
        client.close()
