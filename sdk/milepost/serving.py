"""What serves an app: for web frameworks, Lambda handlers and servers of your own. Functions need none of it.

`App.handle` answers a `Request` with a `Response`, whatever carried it. An app that reaches the store of its runs is
given a `Checkpointer`, which saves finished steps while the function goes on, and a `RunStateStore`, which also loads
what was too large for the call.
"""

from __future__ import annotations

from ._replay.execute import Checkpointer, RunStateStore
from ._replay.logger import log_origin
from ._serve.asgi import AsgiApp
from ._serve.aws_lambda import LambdaHandler, budget_of, read_event, run_on_app_loop
from .protocol import Request, Response

__all__ = [
    "AsgiApp",
    "Checkpointer",
    "LambdaHandler",
    "Request",
    "Response",
    "RunStateStore",
    "budget_of",
    "log_origin",
    "read_event",
    "run_on_app_loop",
]
