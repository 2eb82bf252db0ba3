"""The test harness that users import as `milepost.testing`."""

from __future__ import annotations

from milepost_console.testing.crashes import Crashed
from milepost_console.testing.harness import Harness

__all__ = ["Crashed", "Harness"]
