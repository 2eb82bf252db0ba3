"""Moments and spans of time as queries return them."""

from __future__ import annotations

from datetime import datetime

from milepost_engine.core.ids import to_ms

__all__ = ["iso", "span_ms"]


def iso(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC, with milliseconds."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z" if moment else None


def span_ms(began: datetime, ended: datetime) -> int:
    """Whole milliseconds between two moments."""
    return to_ms(ended) - to_ms(began)
