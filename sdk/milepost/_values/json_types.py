"""Types of JSON values whose shape the sender decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["EventData", "JsonObject"]

JsonObject = Mapping[str, Any]
"""A JSON object as it was read. Its values are whatever was written there, so type checkers let them pass."""

EventData = dict[str, Any]
"""The data of an event that has no model."""
