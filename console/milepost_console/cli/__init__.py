"""The command line. `main` is the entry point of the `milepost` command."""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command, or say what to install: the bare package only lets code declare functions."""
    try:
        from .main import main as run  # noqa: PLC0415 - its packages may be missing
    except ModuleNotFoundError as missing:
        sys.exit(f"The milepost command needs the package {missing.name!r}: pip install 'milepost[dev]'")
    run(arguments)
