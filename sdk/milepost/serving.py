"""Serving an app from a web framework, a Lambda handler or your own server. Code that only declares functions does not
need it.

`App.handle` answers a `Request` with a `Response`, over any transport. An app that can reach the store of its runs gets
a `Checkpointer`, which saves finished steps while the function continues, or a `RunStateStore`, which can also load
state that was too large for the call. A test harness passes a `Rehearsal`.
"""

from __future__ import annotations

from ._replay.execute import Checkpointer, RunStateStore
from ._replay.logger import log_origin
from ._replay.rehearsal import Rehearsal, Replacement
from ._serve.asgi import AsgiApp
from ._serve.aws_lambda import LambdaHandler, budget_of, read_event, run_on_app_loop
from .protocol import Request, Response

__all__ = [
    "AsgiApp",
    "Checkpointer",
    "LambdaHandler",
    "Rehearsal",
    "Replacement",
    "Request",
    "Response",
    "RunStateStore",
    "budget_of",
    "log_origin",
    "read_event",
    "run_on_app_loop",
]
