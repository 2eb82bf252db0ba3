"""A function as the API returns it: triggers with their next times, settings and limits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, cast

from milepost.protocol import EXTENSION, format_duration
from milepost_engine.codec import Json
from milepost_engine.cron import next_after
from milepost_engine.operations.queries import iso
from milepost_engine.ports import Target
from milepost_engine.store.manifest import CronTrigger, EventTrigger, FunctionSpec
from milepost_engine.store.registry import RegisteredApp

__all__ = ["function_row"]

NEXT_TICKS: Final = 5


def function_row(
    spec: FunctionSpec,
    now: datetime,
    *,
    paused: bool,
    target: Target | None,
    retention: timedelta,
    app: RegisteredApp | None = None,
) -> dict[str, Json]:
    """A function as a list row, without statistics.

    `app` is the one it belongs to; `retention` is the default for how long runs are kept.
    """
    policy = spec.retries
    timeouts = {"start": spec.start_timeout, "finish": spec.finish_timeout}
    return {
        "function_id": spec.function_id,
        "app_id": spec.app_id,
        "app_version": app.shown_version if app else "",
        "name": spec.name,
        "own_name": spec.own_name,
        "triggers": [_trigger_row(trigger, now) for trigger in spec.triggers],
        "paused": paused,
        "retries": {"max_attempts": policy.max_attempts, **_plain_retries(spec.raw)},
        "mode": "checkpoint" if spec.checkpoint else "step",
        "idempotency": spec.idempotency or None,
        "timeouts": {name: format_duration(span) if span else None for name, span in timeouts.items()},
        "cancel_on": [
            {
                "event": cancel.event,
                "expression": cancel.expression,
                "timeout": format_duration(cancel.timeout) if cancel.timeout else None,
            }
            for cancel in spec.cancel_on
        ],
        "limits": {
            "invocation_seconds": target.timeout_seconds if target else None,
            "steps": spec.step_limit,
            "retention_seconds": (spec.retention or retention).total_seconds(),
        },
        "schemas": dict(spec.schemas),
    }


def _trigger_row(trigger: EventTrigger | CronTrigger, now: datetime) -> dict[str, Json]:
    if isinstance(trigger, EventTrigger):
        return {"event": trigger.event, "expression": trigger.expression}
    following: list[str | None] = []
    moment = now
    for _ in range(NEXT_TICKS):
        moment = next_after(trigger.line, moment)
        following.append(iso(moment))
    return {
        "cron": trigger.line.text.rpartition("TZ=")[2].partition(" ")[2]
        if "TZ=" in trigger.line.text
        else trigger.text,
        "tz": trigger.line.zone,
        "next": following,
        "jitter": format_duration(trigger.jitter) if trigger.jitter else None,
        "catch_up": trigger.catch_up,
    }


def _plain_retries(raw: Mapping[str, Json]) -> dict[str, Json]:
    """The retry policy as declared; only Milepost's own SDK sends more than a number of attempts."""
    extra = raw.get(EXTENSION)
    policy = extra.get("retries") if isinstance(extra, Mapping) else None
    return dict(cast("Mapping[str, Json]", policy)) if isinstance(policy, Mapping) else {}
