"""Reads the environment and chooses an app's transport and server. The only SDK module that reads its variables.

MILEPOST_DEV                    1, 0, or the address of a dev server
MILEPOST_EVENT_URL              where events are sent
MILEPOST_API_URL                where apps register and save steps; default MILEPOST_EVENT_URL
MILEPOST_EVENT_BUS              name or ARN of the EventBridge bus for events; used if no URL is set
MILEPOST_RUNS_FUNCTION          name or ARN of the Lambda that starts and shows runs; used if no URL is set
MILEPOST_EVENT_KEY              identifies the sender of events
MILEPOST_SIGNING_KEY            signs calls; MILEPOST_SIGNING_KEY_FALLBACK is also accepted, during key rotation
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from ._send.doors import LambdaApi, RunsApi
from ._send.http import HttpApi
from ._send.sender import HttpTransport, Transport

__all__ = ["Wiring", "read_secrets", "utc_now", "wire"]

DEV_SERVER: Final = "http://127.0.0.1:8288"

_OFF: Final = frozenset({"", "0", "false", "no", "off"})
_ON: Final = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True)
class Wiring:
    """The settings from the environment and the arguments of `App`; arguments take precedence."""

    dev: bool
    api: HttpApi | None
    runs: RunsApi | None
    transport: Transport | None
    event_key: str | None
    signing_key: str | None
    fallback_key: str | None


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def read_secrets(name: str, environment: Mapping[str, str] = os.environ) -> Sequence[str]:
    """The comma-separated secrets in a variable; read at each use, so that a change needs no restart."""
    return [secret.strip() for secret in environment.get(name, "").split(",") if secret.strip()]


def wire(
    *,
    dev: bool | str | None,
    transport: Transport | None,
    event_key: str | None,
    signing_key: str | None,
    environment: Mapping[str, str] = os.environ,
) -> Wiring:
    """Read the environment, for whatever the arguments leave open. Raises ConfigError for a bad address."""
    is_dev, dev_url = _read_dev(environment.get("MILEPOST_DEV", "") if dev is None else dev)
    event_url = environment.get("MILEPOST_EVENT_URL") or dev_url
    api_url = environment.get("MILEPOST_API_URL") or event_url
    key = event_key or environment.get("MILEPOST_EVENT_KEY") or None
    signing = signing_key or environment.get("MILEPOST_SIGNING_KEY") or None
    fallback = environment.get("MILEPOST_SIGNING_KEY_FALLBACK") or None
    if transport is None and event_url is not None:
        transport = HttpTransport(event_url, key)
    if transport is None and (bus := environment.get("MILEPOST_EVENT_BUS")):
        from ._send.eventbridge import EventBridgeTransport  # noqa: PLC0415 - only on AWS

        transport = EventBridgeTransport(bus)
    if api_url is None and isinstance(transport, HttpTransport):
        api_url = transport.base_url
    api = HttpApi(api_url, signing_key=signing, fallback_key=fallback) if api_url is not None else None
    runs: RunsApi | None = api
    if runs is None and (function := environment.get("MILEPOST_RUNS_FUNCTION")):
        runs = LambdaApi(function)
    return Wiring(is_dev, api, runs, transport, key, signing, fallback)


def _read_dev(value: bool | str) -> tuple[bool, str | None]:  # noqa: FBT001 - as the user wrote it
    """Whether the app is in dev mode, and the address of its dev server."""
    if isinstance(value, bool):
        return value, DEV_SERVER if value else None
    word = value.strip().lower()
    if word in _OFF:
        return False, None
    return True, DEV_SERVER if word in _ON else value.strip()
