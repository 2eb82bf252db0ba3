"""The test harness: run your functions in your own pytest, on a wound clock. Needs `pip install 'milepost[dev]'`."""

from __future__ import annotations

from milepost_console.testing import Crashed, Harness

__all__ = ["Crashed", "Harness"]
