"""How a harness fails a test: its words may hold names and errors from outside, and pytest prints them as they are."""

from __future__ import annotations

from milepost_console.visible import visible

__all__ = ["failed"]


def failed(*lines: str) -> AssertionError:
    """The error that fails the test; none of its lines can hold another."""
    return AssertionError("\n".join(map(visible, lines)))
