"""The test harnesses: run your functions in your own pytest, with a clock that the test advances.

`Harness` needs `pip install 'milepost[dev]'`; `AwsHarness`, which plays AWS with moto, `'milepost[dev,moto]'`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    # The engine imports it at the first cron line, which is too late to say what to install.
    import croniter as _croniter  # noqa: F401  # pyright: ignore[reportUnusedImport]

    from milepost_console.testing.crashes import Crashed
    from milepost_console.testing.harness import Harness
    from milepost_console.testing.records import AttemptRecord, ErrorRecord, RunRecord, StepRecord
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"milepost.testing needs the package {missing.name!r}: pip install 'milepost[dev]'", name=missing.name
    ) from missing

if TYPE_CHECKING:
    from milepost_console.testing.aws import AwsHarness

__all__ = ["AttemptRecord", "AwsHarness", "Crashed", "ErrorRecord", "Harness", "RunRecord", "StepRecord"]


def __getattr__(name: str) -> object:
    """`AwsHarness`, imported on first use, so that moto is needed only by those who use it."""
    if name != "AwsHarness":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from milepost_console.testing.aws import AwsHarness  # noqa: PLC0415 - see above
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            f"AwsHarness needs the package {missing.name!r}: pip install 'milepost[dev,moto]'", name=missing.name
        ) from missing
    return AwsHarness
