"""Where events go: the transports that an app can be given, and their one-method seam for transports of your own."""

from __future__ import annotations

from ._send.eventbridge import EventBridgeTransport
from ._send.sender import EventBatch, HttpTransport, RecordingTransport, Transport

__all__ = ["EventBatch", "EventBridgeTransport", "HttpTransport", "RecordingTransport", "Transport"]
