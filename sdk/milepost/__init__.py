"""Milepost: durable functions. Write them with `App`, `Event` and `Context`; start with the docs' first page."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._app import App
    from ._context import Context, SyncContext
    from ._eventbridge import EventBridgeTransport
    from ._events import CronTick, NewEvent, ReceivedEvent
    from ._execute import Keeper
    from ._execute import Saver as Checkpointer
    from ._function import Cancel, Function, FunctionRef, Timeouts
    from ._middleware import CallInput, Middleware, StepOutput
    from ._retries import Retries
    from ._send import EventBatch, HttpTransport, RecordingTransport, Transport
    from ._steps import Steps, SyncSteps
    from ._triggers import Cron, Event
    from ._version import VERSION as __version__  # noqa: N811 - the name that tools look for
    from ._web import Request, Response
    from ._webhooks import Webhook, WebhookRequest
    from .errors import MilepostError, NonRetriableError, RetryAfterError, StepError

__all__ = [
    "App",
    "CallInput",
    "Cancel",
    "Checkpointer",
    "Context",
    "Cron",
    "CronTick",
    "Event",
    "EventBatch",
    "EventBridgeTransport",
    "Function",
    "FunctionRef",
    "HttpTransport",
    "Keeper",
    "Middleware",
    "MilepostError",
    "NewEvent",
    "NonRetriableError",
    "ReceivedEvent",
    "RecordingTransport",
    "Request",
    "Response",
    "Retries",
    "RetryAfterError",
    "StepError",
    "StepOutput",
    "Steps",
    "SyncContext",
    "SyncSteps",
    "Timeouts",
    "Transport",
    "Webhook",
    "WebhookRequest",
    "__version__",
]

_HOMES: Final = {
    "App": "_app",
    "CallInput": "_middleware",
    "Cancel": "_function",
    "Checkpointer": "_execute:Saver",
    "Context": "_context",
    "Cron": "_triggers",
    "CronTick": "_events",
    "Event": "_triggers",
    "EventBatch": "_send",
    "EventBridgeTransport": "_eventbridge",
    "Function": "_function",
    "FunctionRef": "_function",
    "HttpTransport": "_send",
    "Keeper": "_execute",
    "Middleware": "_middleware",
    "MilepostError": "errors",
    "NewEvent": "_events",
    "NonRetriableError": "errors",
    "ReceivedEvent": "_events",
    "RecordingTransport": "_send",
    "Request": "_web",
    "Response": "_web",
    "Retries": "_retries",
    "RetryAfterError": "errors",
    "StepError": "errors",
    "StepOutput": "_middleware",
    "Steps": "_steps",
    "SyncContext": "_context",
    "SyncSteps": "_steps",
    "Timeouts": "_function",
    "Transport": "_send",
    "Webhook": "_webhooks",
    "WebhookRequest": "_webhooks",
    "__version__": "_version:VERSION",
}
"""Where each public name lives. Loaded when first used: the engine takes only `protocol` and `errors` from this
package, and must not pay for pydantic on its way to them."""


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, inner = home.partition(":")
    value: object = getattr(import_module(f".{module}", __name__), inner or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
