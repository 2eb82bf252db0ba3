"""What both processes of a dev server do at their start."""

from __future__ import annotations

import gc
import logging
from typing import Final

__all__ = ["keep_loaded", "log_to"]

_QUIET: Final = ("asyncio", "httpcore", "httpx", "uvicorn")
"""Loggers of which only warnings are worth a line."""


def log_to(handler: logging.Handler) -> None:
    """Hand everything that is logged to a handler, from INFO on."""
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def keep_loaded() -> None:
    """Let the garbage collector look no more at what is there for good: imported code takes it 20 ms each time."""
    gc.collect()
    gc.freeze()
