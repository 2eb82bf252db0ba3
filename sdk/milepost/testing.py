"""The test harness: run your functions in your own pytest, on a wound clock. Needs `pip install 'milepost[dev]'`."""

from __future__ import annotations

try:
    from milepost_console.testing.crashes import Crashed
    from milepost_console.testing.harness import Harness
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"milepost.testing needs the package {missing.name!r}: pip install 'milepost[dev]'", name=missing.name
    ) from missing

__all__ = ["Crashed", "Harness"]
