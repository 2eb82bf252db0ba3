"""The test harnesses: run your functions in your own pytest, on a wound clock.

`Harness` needs `pip install 'milepost[dev]'`; `AwsHarness`, which plays AWS with moto, `'milepost[dev,moto]'`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    # The engine asks for it with the first cron line: too late to say what to install.
    import croniter as _croniter  # noqa: F401  # pyright: ignore[reportUnusedImport]

    from milepost_console.testing.crashes import Crashed
    from milepost_console.testing.harness import Harness
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"milepost.testing needs the package {missing.name!r}: pip install 'milepost[dev]'", name=missing.name
    ) from missing

if TYPE_CHECKING:
    from milepost_console.testing.aws import AwsHarness

__all__ = ["AwsHarness", "Crashed", "Harness"]


def __getattr__(name: str) -> object:
    """`AwsHarness`, imported when it is asked for: who does not use it need not have moto."""
    if name != "AwsHarness":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from milepost_console.testing.aws import AwsHarness  # noqa: PLC0415 - see above
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            f"AwsHarness needs the package {missing.name!r}: pip install 'milepost[dev,moto]'", name=missing.name
        ) from missing
    return AwsHarness
