"""The command line. `main` is the entry point of the `milepost` command."""

from .main import main

__all__ = ["main"]
