"""Where events go: the transports that `App(transport=…)` takes, and the one-method Protocol for your own."""

from __future__ import annotations

from ._send.eventbridge import EventBridgeTransport
from ._send.sender import EventBatch, HttpTransport, RecordingTransport, Transport

__all__ = ["EventBatch", "EventBridgeTransport", "HttpTransport", "RecordingTransport", "Transport"]
