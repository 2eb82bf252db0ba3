"""Calls user code that lives in this process: for tests.

If an app is removed while one of its runs waits (another file is served), the app is missing: the run continues with
its next attempt once the app is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Protocol

from milepost.protocol import Header, Request, Response
from milepost_engine.ports import InvocationProblem, ProblemKind, Target

__all__ = ["InProcessInvoker", "Served"]


class Served(Protocol):
    """An app as the invoker sees it: `milepost.App` fits."""

    async def handle(self, request: Any, *, checkpointer: Any = None, authenticated: bool = False) -> Any:
        """Serve one request; the answer has `status`, `headers` and `body`."""
        ...


class InProcessInvoker:
    """Implements the Invoker port for `Target("inprocess", app_id)`.

    `apps` by id may be changed at any time; invocations in progress finish with the code they started with.
    `checkpointer` is called with the ids of a run and its function and the claim of the call, and returns the object
    that a function in checkpoint mode saves its steps with (`Engine.checkpointer`); without it each invocation returns
    its steps instead.
    """

    def __init__(self, apps: MutableMapping[str, Any] | None = None) -> None:
        self.apps: MutableMapping[str, Any] = {} if apps is None else apps
        self.checkpointer: Callable[[str, str, str], object] | None = None

    async def invoke(self, target: Target, request: Request) -> Response:
        """Call the app. Raises InvocationProblem when there is no answer."""
        app: Served | None = self.apps.get(target.address)
        if app is None:
            raise InvocationProblem(
                ProblemKind.MISSING, f"app {target.address!r} is not loaded in this process; serve its file again"
            )
        run_id = request.headers.get(Header.RUN_ID.value)
        checkpointer = None
        if self.checkpointer is not None and run_id:
            checkpointer = self.checkpointer(run_id, request.query["fnId"], request.headers.get(Header.CLAIM.value, ""))
        try:
            async with asyncio.timeout(target.timeout_seconds):
                answer = await app.handle(request, checkpointer=checkpointer, authenticated=True)
        except TimeoutError:
            raise InvocationProblem(
                ProblemKind.TIMEOUT, f"the code did not answer within {target.timeout_seconds:g} s; it may still run"
            ) from None
        except Exception as error:
            raise InvocationProblem(ProblemKind.CRASHED, f"the app raised {type(error).__name__}: {error}") from error
        headers: Mapping[str, str] = answer.headers
        return Response(answer.status, {name.lower(): value for name, value in headers.items()}, answer.body)
