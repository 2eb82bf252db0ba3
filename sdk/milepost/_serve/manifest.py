"""Describes an app: the registration of the wire protocol, with Milepost's extension under the key `milepost`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import timedelta
from urllib.parse import urlencode

from milepost._declare.function import AnyFunction, Timeouts, check_paths
from milepost._declare.triggers import Cron, Event, Trigger
from milepost._values.current import Named
from milepost._values.durations import to_duration, wire_duration
from milepost._version import SDK_NAME, VERSION
from milepost.protocol import DISCOVERY, EXTENSION, MAX_CHAIN_DEFAULT, normalize_key

from .settings import AppSettings

__all__ = ["in_band", "inspection", "registration"]

CAPABILITIES = {"in_band_sync": "v1", "trust_probe": "v1"}


def registration(
    settings: AppSettings, functions: Iterable[AnyFunction], serve_url: str, webhooks: Iterable[str] = ()
) -> dict[str, object]:
    """The body of `POST /fn/register`."""
    body: dict[str, object] = {
        "url": serve_url,
        "deployType": "ping",
        "appName": settings.app_id,
        "appname": settings.app_id,
        "framework": "milepost",
        "sdk": SDK_NAME,
        "v": "0.1",
        "capabilities": dict(CAPABILITIES),
        "functions": [_describe_function(function, serve_url, settings) for function in functions],
    }
    if settings.version is not None:
        body["appVersion"] = settings.version
    return body | _webhooks(webhooks)


def in_band(
    settings: AppSettings, functions: Iterable[AnyFunction], serve_url: str, webhooks: Iterable[str] = ()
) -> dict[str, object]:
    """The response to an in-band sync, which asks for the registration itself."""
    listed = list(functions)
    return {
        "app_id": settings.app_id,
        "appVersion": settings.version,
        "capabilities": dict(CAPABILITIES),
        "env": None,
        "framework": "milepost",
        "functions": [_describe_function(function, serve_url, settings) for function in listed],
        "inspection": inspection(settings, len(listed), signed=settings.verifies),
        "platform": None,
        "sdk_author": "milepost",
        "sdk_language": "py",
        "sdk_version": VERSION,
        "sdk": SDK_NAME,
        "url": serve_url,
        **_webhooks(webhooks),
    }


def _webhooks(names: Iterable[str]) -> dict[str, object]:
    """Extension: the names of the app's webhooks, if it has any."""
    listed = sorted(names)
    return {"webhooks": listed} if listed else {}


def inspection(settings: AppSettings, function_count: int, *, signed: bool) -> dict[str, object]:
    """A description for anyone, with more fields for signed requests. Keys appear only as the start of their hashes."""
    fields: dict[str, object] = {
        "schema_version": "2024-05-24",
        "extra": {"native_crypto": True},
        "function_count": function_count,
        "has_event_key": settings.event_key is not None,
        "has_signing_key": settings.signing_key is not None,
        "has_signing_key_fallback": settings.fallback_key is not None,
        "mode": "dev" if settings.dev else "cloud",
    }
    if signed:
        fields |= {
            "api_origin": settings.api.base_url if settings.api else None,
            "app_id": settings.app_id,
            "authentication_succeeded": True,
            "capabilities": dict(CAPABILITIES),
            "event_key_hash": _hash(settings.event_key),
            "framework": "milepost",
            "sdk_language": "py",
            "sdk_version": VERSION,
            "signing_key_hash": _hash(settings.signing_key and normalize_key(settings.signing_key)),
            "signing_key_fallback_hash": _hash(settings.fallback_key and normalize_key(settings.fallback_key)),
        }
    return fields


def _hash(key: str | None) -> str | None:
    return hashlib.sha256(key.encode()).hexdigest()[:12] if key else None


def _describe_function(function: AnyFunction, serve_url: str, settings: AppSettings) -> dict[str, object]:
    query = urlencode({"fnId": function.slug, "stepId": DISCOVERY})
    separator = "&" if "?" in serve_url else "?"
    wire: dict[str, object] = {
        "id": function.slug,
        "name": function.name,
        "triggers": [_describe_trigger(trigger) for trigger in function.triggers],
        "steps": {
            "step": {
                "id": "step",
                "name": "step",
                "runtime": {"type": "http", "url": f"{serve_url}{separator}{query}"},
                "retries": {"attempts": function.retries.max_retries},
            }
        },
        EXTENSION: _extension(function, settings),
    }
    if function.idempotency is not None:
        wire["idempotency"] = function.idempotency
    if function.cancel_on:
        wire["cancel"] = [cancel.to_wire() for cancel in function.cancel_on]
    if timeouts := _timeouts(function.timeouts):
        wire["timeouts"] = timeouts
    return wire


def _extension(function: AnyFunction, settings: AppSettings) -> dict[str, object]:
    check_paths(function)
    with Named(f"function {function.id!r} of app {function.app_id!r}"):
        schemas = {
            trigger.name: schema
            for trigger in function.triggers
            if isinstance(trigger, Event) and (schema := trigger.schema()) is not None
        }
    wire: dict[str, object] = {"retries": function.retries.to_wire(), "mode": function.mode, "event_schemas": schemas}
    if settings.max_chain != MAX_CHAIN_DEFAULT:
        wire["max_chain"] = settings.max_chain
    if function.max_steps is not None:
        wire["max_steps"] = function.max_steps
    if settings.retention is not None:
        wire["retention"] = wire_duration(settings.retention)
    if function.catch_up is not None:
        wire["catch_up"] = function.catch_up
    return wire


def _describe_trigger(trigger: Trigger) -> dict[str, object]:
    if isinstance(trigger, Cron):
        wire: dict[str, object] = {"cron": trigger.wire_line}
        if trigger.jitter is not None:
            wire["jitter"] = wire_duration(to_duration(trigger.jitter, "jitter"))
        return wire
    return {"event": trigger.name, **({"expression": trigger.if_} if trigger.if_ else {})}


def _timeouts(timeouts: Timeouts) -> dict[str, str]:
    given = {"start": timeouts.start, "finish": timeouts.finish}
    return {
        name: wire_duration(max(to_duration(value, name), timedelta(milliseconds=1)))
        for name, value in given.items()
        if value is not None
    }
