"""A user's app as Lambda handler that reaches its runs' store itself: `MilepostApp` packs it around the app.

In checkpoint mode each finished step is saved by one conditional write before the next begins; what is too large for
a call is read from the table. Both are set up when a run first needs them, so that other calls start as fast as ever.
A call that comes with a token is one that nobody waits for: its answer is reported (`reporting.py`).

MILEPOST_TABLE, MILEPOST_BUCKET     the store; without them the app behaves like `app.lambda_handler()`
MILEPOST_QUEUE_URL                  the work queue, of an app that reports
MILEPOST_RETENTION_DAYS             how long ended runs are kept; 30 by default
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from milepost import App

from .direct_state import DirectStateStore, stores

if TYPE_CHECKING:
    from milepost.serving import LambdaHandler

__all__ = ["lambda_handler"]


def lambda_handler(app: App) -> LambdaHandler:
    """The Lambda's handler."""
    if not os.environ.get("MILEPOST_TABLE"):
        return app.lambda_handler()
    answer = app.lambda_handler(DirectStateStore)

    def handler(event: Mapping[str, Any], context: Any = None) -> dict[str, Any]:
        token = event.get("milepost")
        if token is None:
            return answer(event, context)
        from .reporting import run_and_report  # noqa: PLC0415 - 0.2 s of imports that only some calls need

        return run_and_report(app, event, context, token, stores())

    return handler
