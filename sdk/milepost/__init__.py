"""Milepost: durable functions. Write them with `App`, `Event` and `Context`; the README shows how.

Other public modules: `milepost.middleware`, `milepost.sending` (transports), `milepost.serving` (serving an app from
your own server), `milepost.testing` (test harnesses) and `milepost.errors`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._app import App
    from ._declare.function import Cancel, Function, FunctionRef, Timeouts
    from ._declare.retries import Retries
    from ._declare.runs import RunHandle
    from ._declare.triggers import Cron, Event
    from ._replay.context import Context, SyncContext
    from ._replay.step_tools import Steps, SyncSteps
    from ._serve.webhooks import Webhook, WebhookRequest
    from ._values.events import CronTick, NewEvent, ReceivedEvent
    from ._version import VERSION as __version__  # noqa: N811 - the name that tools look for
    from .errors import MilepostError, NonRetriableError, RetryAfterError, StepError

__all__ = [
    "App",
    "Cancel",
    "Context",
    "Cron",
    "CronTick",
    "Event",
    "Function",
    "FunctionRef",
    "MilepostError",
    "NewEvent",
    "NonRetriableError",
    "ReceivedEvent",
    "Retries",
    "RetryAfterError",
    "RunHandle",
    "StepError",
    "Steps",
    "SyncContext",
    "SyncSteps",
    "Timeouts",
    "Webhook",
    "WebhookRequest",
    "__version__",
]

_HOMES: Final = {
    "App": "_app",
    "Cancel": "_declare.function",
    "Context": "_replay.context",
    "Cron": "_declare.triggers",
    "CronTick": "_values.events",
    "Event": "_declare.triggers",
    "Function": "_declare.function",
    "FunctionRef": "_declare.function",
    "MilepostError": "errors",
    "NewEvent": "_values.events",
    "NonRetriableError": "errors",
    "ReceivedEvent": "_values.events",
    "Retries": "_declare.retries",
    "RetryAfterError": "errors",
    "RunHandle": "_declare.runs",
    "StepError": "errors",
    "Steps": "_replay.step_tools",
    "SyncContext": "_replay.context",
    "SyncSteps": "_replay.step_tools",
    "Timeouts": "_declare.function",
    "Webhook": "_serve.webhooks",
    "WebhookRequest": "_serve.webhooks",
    "__version__": "_version:VERSION",
}
"""The module of each public name. Loaded on first use: the engine imports only `protocol` and `errors` from this
package, and should not have to load pydantic for them."""

_MOVED: Final = {
    "CallInput": "milepost.middleware",
    "Checkpointer": "milepost.serving",
    "EventBatch": "milepost.sending",
    "EventBridgeTransport": "milepost.sending",
    "HttpTransport": "milepost.sending",
    "Middleware": "milepost.middleware",
    "RecordingTransport": "milepost.sending",
    "Request": "milepost.serving",
    "Response": "milepost.serving",
    "StepOutput": "milepost.middleware",
    "Transport": "milepost.sending",
}
"""Public names that users may expect here, and the modules they are in."""


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        moved = _MOVED.get(name)
        hint = f": write `from {moved} import {name}`" if moved else ""
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
    module, _, inner = home.partition(":")
    value: object = getattr(import_module(f".{module}", __name__), inner or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
