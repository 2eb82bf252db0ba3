"""How often a request is tried, and how long the SDK waits between tries."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["TRIES", "pause_seconds"]

TRIES: Final = 5
_FIRST_PAUSE_SECONDS: Final = 0.1


def pause_seconds(retry: int) -> float:
    """The wait before a retry, from 1: 0.1 s, doubled each time.

    Random between half and all of that, so that many clients do not retry at the same time.
    """
    return _FIRST_PAUSE_SECONDS * 2.0 ** (retry - 1) * (0.5 + os.urandom(1)[0] / 510)
