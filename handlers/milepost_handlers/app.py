"""A user's app as a Lambda handler with direct access to its runs' store; `MilepostApp` packs it around the app.

In checkpoint mode each finished step is saved by one conditional write before the next starts; state too large for a
call is read from the table. Both are set up when a run first needs them, so that other calls do not start more slowly.
A call with a token is an asynchronous invocation: its answer is reported to the work queue (`reporting.py`).

MILEPOST_TABLE, MILEPOST_BUCKET     the store; without them the app behaves like `app.lambda_handler()`
MILEPOST_QUEUE_URL                  the work queue, for an app that reports
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
        from .reporting import run_and_report  # noqa: PLC0415 - 0.2 s of imports that few calls need

        return run_and_report(app, event, context, token, stores())

    return handler
