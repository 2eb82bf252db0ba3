"""Runs as their starter sees them: started by `Function.start`, asked for their result, cancelled.

Everything here is written once, over a door: a way to the server that requests and pauses. The door of async code
suspends where it waits; that of sync code blocks and never suspends, so that `step_through` can run the same coroutine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, Generic, Literal, Protocol, cast
from urllib.parse import quote

from pydantic_core import from_json, to_json
from typing_extensions import TypeVar

from milepost._values.durations import Duration, open_duration
from milepost._values.failure import read_failure
from milepost._values.serializer import Adapter, revive
from milepost._values.stepping import step_through
from milepost.errors import (
    ConfigError,
    ResultTimeoutError,
    RunCancelledError,
    RunFailedError,
    RunRefusedError,
    SendError,
)

__all__ = ["Door", "Doors", "RunHandle", "RunStatus", "Startable", "start_request"]

T_co = TypeVar("T_co", covariant=True, default=object)

RunStatus = Literal["Queued", "Running", "Completed", "Failed", "Cancelled"]

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 5.0
_GROWTH: Final = 1.5
_ENDED: Final = frozenset({"Completed", "Failed", "Cancelled"})

_NOWHERE: Final = (
    "set MILEPOST_DEV=1 for the dev server; in AWS, MILEPOST_RUNS_FUNCTION (Milepost.grant_start in the CDK allows its "
    "use); elsewhere, MILEPOST_API_URL and MILEPOST_SIGNING_KEY"
)


class Door(Protocol):
    """A way to the server of runs."""

    async def request(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Send a request; returns status and body. Raises SendError if the server fails or cannot be reached."""
        ...

    async def pause(self, seconds: float, left: float | None) -> None:
        """Wait before the next look at a run that lives; `left` are the seconds until the caller's timeout."""
        ...

    def now(self) -> float:
        """Seconds, from any start."""
        ...


class Doors(Protocol):
    """The doors of an app; None if it does not know where the server is."""

    def waiting(self) -> Door | None:
        """For async code."""
        ...

    def blocking(self) -> Door | None:
        """For code without an event loop."""
        ...

    def seed(self) -> str:
        """A fresh seed of event ids: every try of a request has the same."""
        ...

    def chain(self, function_id: str) -> int:
        """How many starts and events led to a start from here; 0 outside of runs. Raises EventLoopError at a limit."""
        ...


class Startable(Generic[T_co]):
    """What a handle needs to know of its function."""

    __slots__ = ("adapter", "doors", "function_id")

    def __init__(self, function_id: str, doors: Doors | None, adapter: Adapter | None) -> None:
        self.function_id = function_id
        self.doors = doors
        self.adapter = adapter

    def waiting(self) -> Door:
        return self._known(self.doors.waiting() if self.doors else None)

    def blocking(self) -> Door:
        return self._known(self.doors.blocking() if self.doors else None)

    @property
    def path(self) -> str:
        return f"/v1/functions/{quote(self.function_id, safe='')}/runs"

    def _known(self, door: Door | None) -> Door:
        if door is None:
            raise ConfigError(f"function {self.function_id!r}: its app does not know where runs are: {_NOWHERE}")
        return door


class RunHandle(Generic[T_co]):
    """A run, as its starter sees it: returned by `Function.start` and `Function.run`.

    Attributes:
        id: Id of the run.
        function_id: Full id of its function.

    Every method raises SendError if the server fails or cannot be reached, RunRefusedError if the run does not exist
    (it expired or was erased) or the caller lacks a permission, and ConfigError if the app does not know its server.
    """

    __slots__ = ("_started", "id")

    def __init__(self, run_id: str, started: Startable[T_co]) -> None:
        self.id = run_id
        self._started = started

    @property
    def function_id(self) -> str:
        return self._started.function_id

    def __repr__(self) -> str:
        return f"<RunHandle {self.id} of {self.function_id}>"

    async def status(self) -> RunStatus:
        """`"Queued"`, `"Running"`, `"Completed"`, `"Failed"` or `"Cancelled"`."""
        return await self._status(self._started.waiting())

    def status_sync(self) -> RunStatus:
        """The same as `status`, for code without an event loop."""
        return step_through(self._status(self._started.blocking()))

    async def result(self, timeout: Duration | None = None) -> T_co:  # noqa: ASYNC109 - the server does the waiting
        """Wait until the run has ended, and return its output as the type of the function's return annotation.

        Args:
            timeout: The longest time to wait, at most 366 days; 0 looks once. Default None: as long as it takes.

        It looks again after 0.05 s, then ever more rarely, up to every 5 s. Raises RunFailedError or RunCancelledError
        if the run did not complete, ResultTimeoutError after the timeout (the run is not cancelled), and
        NotSerializableError if the annotation does not accept the output. Inside a durable function, use
        `ctx.step.invoke` instead, which costs nothing while it waits.
        """
        return await self._result(self._started.waiting(), timeout)

    def result_sync(self, timeout: Duration | None = None) -> T_co:
        """The same as `result`, for code without an event loop; blocks."""
        return step_through(self._result(self._started.blocking(), timeout))

    async def cancel(self, reason: str = "") -> bool:
        """Cancel the run: none of its steps starts afterwards. Returns False if it had ended before.

        Args:
            reason: Shown with the run; at most 1,000 characters.
        """
        return await self._cancel(self._started.waiting(), reason)

    def cancel_sync(self, reason: str = "") -> bool:
        """The same as `cancel`, for code without an event loop."""
        return step_through(self._cancel(self._started.blocking(), reason))

    # --- once, for both -----------------------------------------------------------------------------------------------

    @property
    def _what(self) -> str:
        return f"run {self.id} of function {self.function_id!r}"

    async def _look(self, door: Door) -> Mapping[str, object]:
        path = f"{self._started.path}/{quote(self.id, safe='')}"
        return read_reply(self._what, await door.request("GET", path, None))

    async def _status(self, door: Door) -> RunStatus:
        return cast("RunStatus", (await self._look(door))["status"])

    async def _result(self, door: Door, timeout: Duration | None) -> T_co:  # noqa: ASYNC109 - as above
        longest = None if timeout is None else open_duration(timeout, f"the timeout of result() of {self._what}")
        end = None if longest is None else door.now() + longest.total_seconds()
        pause = _FIRST_PAUSE_SECONDS
        while True:
            seen = await self._look(door)
            if seen["status"] in _ENDED:
                return self._outcome(seen)
            left = None if end is None else end - door.now()
            if longest is not None and left is not None and left <= 0:
                raise ResultTimeoutError(
                    f"{self._what} has not ended within {longest.total_seconds():g} s; it is {seen['status']}. It is "
                    "not cancelled: call result() again, or cancel()",
                    run_id=self.id, function_id=self.function_id, status=str(seen["status"]),
                )  # fmt: skip
            # Between half and all of the pause, so that many callers do not ask at the same time.
            jittered = pause * (0.5 + os.urandom(1)[0] / 510)
            await door.pause(jittered if left is None else min(jittered, left), left)
            pause = min(pause * _GROWTH, _LONGEST_PAUSE_SECONDS)

    def _outcome(self, seen: Mapping[str, object]) -> T_co:
        if seen["status"] == "Completed":
            output, adapter = seen["output"], self._started.adapter
            return cast("T_co", output if adapter is None else revive(output, adapter, self._what))
        error = seen["error"]
        fields = cast("Mapping[str, object]", error) if isinstance(error, Mapping) else {"message": str(error or "")}
        if seen["status"] == "Cancelled":
            message = str(fields.get("message") or fields.get("reason") or "no reason was given")
            raise RunCancelledError(message, run_id=self.id, function_id=self.function_id, name="RunCancelled")
        failure = read_failure(fields)
        raise RunFailedError(
            failure.message, run_id=self.id, function_id=self.function_id, name=failure.name, data=failure.data,
            stack=failure.stack, cause=failure.cause,
        )  # fmt: skip

    async def _cancel(self, door: Door, reason: str) -> bool:
        path = f"{self._started.path}/{quote(self.id, safe='')}/cancel"
        status, body = await door.request("POST", path, to_json({"reason": reason}))
        if status == 409 and _fields(body).get("code") == "MP302":
            return False
        read_reply(self._what, (status, body))
        return True


async def start_request(started: Startable[T_co], door: Door, data: object, caller_id: str | None) -> RunHandle[T_co]:
    """Start a run. The seed makes every try of the request the same start."""
    assert started.doors is not None  # it has given the door
    body: dict[str, object] = {"data": data, "seed": started.doors.seed()}
    if caller_id is not None:
        body["id"] = caller_id
    if chain := started.doors.chain(started.function_id):
        body["chain"] = chain
    what = f"function {started.function_id!r} was not started"
    reply = read_reply(what, await door.request("POST", started.path, to_json(body)))
    return RunHandle(str(reply["run_id"]), started)


def _fields(body: bytes) -> Mapping[str, object]:
    try:
        read = from_json(body)
    except ValueError:
        return {}
    return cast("Mapping[str, object]", read) if isinstance(read, Mapping) else {}


def read_reply(what: str, reply: tuple[int, bytes]) -> Mapping[str, object]:
    """The server's answer. Raises RunRefusedError, which begins with `what`, if it refuses."""
    status, body = reply
    fields = _fields(body)
    if status == 200 and fields:
        return fields
    problem = str(fields.get("error") or body[:200].decode("utf-8", "replace"))
    if status in {401, 403}:
        raise RunRefusedError(
            f"{what}: the server does not authorise the app (HTTP {status}: {problem}): set MILEPOST_SIGNING_KEY to a "
            "signing key of the server", reason=str(fields.get("code") or ""),
        )  # fmt: skip
    if "code" not in fields:
        raise SendError(
            f"{what}: the server's answer is not that of a Milepost of this version (HTTP {status}: {problem}): check "
            "MILEPOST_API_URL, or update the server"
        )
    raise RunRefusedError(f"{what}: {problem}", reason=str(fields["code"]))
