"""The dev server's side of one process with user code: starts and calls it, handles its saves and logs.

server                            process
  start with the locations ─────►  imports them
  ◄──────────────── ready: manifests, files     (or: problem)
  call 1 ───────────────────────►  a function runs
  ◄──────────────────────── save 1 of call 1
  saved 1 ──────────────────────►  continues
  ◄─────────────────────────── log
  ◄────────────────────── answer 1
  stop ─────────────────────────►  ends
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from pydantic_core import from_json

from milepost.errors import CheckpointRefused
from milepost.protocol import Request, Response
from milepost_console.dev.log_origin import with_origin
from milepost_engine.ports import InvocationProblem, ProblemKind

from .frames import Frames, Head
from .loader import AppLocation, CodeProblem, Stamps

if TYPE_CHECKING:
    from milepost.serving import Checkpointer

__all__ = ["CodeProcess"]

_END_SECONDS: Final = 2.0
_LAST_FRAMES_SECONDS: Final = 0.5
_log = logging.getLogger("milepost.code")


@dataclass(slots=True)
class _Call:
    answer: asyncio.Future[Response]
    checkpointer: Checkpointer | None


class CodeProcess:
    """See the module. Create it with `start`."""

    def __init__(self, process: asyncio.subprocess.Process, locations: Sequence[AppLocation], stamps: Stamps) -> None:
        self._process = process
        self._locations = ", ".join(location.text for location in locations)
        self._loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._frames = Frames(self._receive, self._lost)
        self._calls: dict[int, _Call] = {}
        self._last_call = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._retired = False
        self._closed = asyncio.Event()
        self._in_background(self._watch())
        self.manifests: Mapping[str, Mapping[str, object]] = {}
        """Each app's manifest, by app id."""
        self.stamps = stamps
        """The files that the code was loaded from, as they were at that time."""
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Resolves to how the process ended."""

    @classmethod
    async def start(
        cls, locations: Sequence[AppLocation], folder: Path, address: str, files: Stamps, *, quiet_stdout: bool = False
    ) -> CodeProcess:
        """Start a process that loads the code at these locations. `files`: stamps of files known from earlier loads."""
        options = {
            "locations": [
                [location.text, location.module, str(location.root), location.attribute] for location in locations
            ],
            "folder": str(folder),
            "address": address,
            "files": list(files),
            "server": os.getpid(),
        }
        here, there = socket.socketpair()
        with there:
            # -P keeps the user's folder off sys.path while this program imports its own modules.
            command = (
                sys.executable,
                "-P",
                "-m",
                "milepost_console.code.child",
                str(there.fileno()),
                json.dumps(options),
            )
            stdout = sys.stderr if quiet_stdout else None  # noqa: TID251 - what user code prints is its own
            process = await asyncio.create_subprocess_exec(*command, pass_fds=(there.fileno(),), stdout=stdout)
        started = cls(process, locations, files)
        here.setblocking(False)
        await asyncio.get_running_loop().create_connection(lambda: started._frames, sock=here)
        return started

    async def ready(self, seconds: float) -> bool:
        """Wait up to `seconds`; returns whether the code is loaded. Raises CodeProblem when it cannot be."""
        await asyncio.wait({self._loaded}, timeout=seconds)
        if self._loaded.done():
            self._loaded.result()
        return self.is_ready

    @property
    def is_ready(self) -> bool:
        """Whether the code is loaded."""
        return self._loaded.done() and self._loaded.exception() is None

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    async def call(self, app_id: str, request: Request, checkpointer: Checkpointer | None) -> Response:
        """Call an app. Raises InvocationProblem when the process ends before it answers."""
        self._last_call += 1
        number = self._last_call
        call = _Call(asyncio.get_running_loop().create_future(), checkpointer)
        if self.ended.done():
            raise self._crash()
        self._calls[number] = call
        head = {
            "t": "call",
            "n": number,
            "app": app_id,
            "method": request.method,
            "query": request.query,
            "headers": request.headers,
            "saves": checkpointer is not None,
        }
        self._frames.send(head, request.body)
        try:
            return await call.answer
        finally:
            self._calls.pop(number, None)
            self._end_if_idle()

    def retire(self) -> None:
        """Let the process end once it has answered its calls."""
        self._retired = True
        self._end_if_idle()

    async def close(self) -> None:
        """End the process now, cutting off what it is running."""
        self._retired = True
        if not self._loaded.done():
            # It is not reading frames yet, and may never.
            self._kill()
        self._frames.send({"t": "stop"})
        self._frames.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._kill()
            await self._process.wait()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _end_if_idle(self) -> None:
        if self._retired and not self._calls and not self.ended.done():
            self._in_background(self.close())

    # --- frames -------------------------------------------------------------------------------------------------------

    def _receive(self, head: Head, body: bytes) -> None:
        match head["t"]:
            case "answer":
                call = self._calls.get(head["n"])
                if call is not None and not call.answer.done():
                    call.answer.set_result(Response(head["status"], head["headers"], body))
            case "save":
                self._in_background(self._save(head, body))
            case "log":
                _logged(head)
            case "failed":
                call = self._calls.get(head["n"])
                if call is not None and not call.answer.done():
                    problem = InvocationProblem(ProblemKind.CRASHED, f"the app raised {head['text']}")
                    call.answer.set_exception(problem)
            case "ready":
                self.manifests, self.stamps = head["manifests"], _stamps(head)
                self._loaded.set_result(None)
            case "problem":
                self.stamps = _stamps(head)
                self._loaded.set_exception(CodeProblem(head["text"]))
            case other:
                _log.error("the process with your code sent a frame of unknown kind %r", other)

    async def _save(self, head: Head, body: bytes) -> None:
        call = self._calls.get(head["n"])
        refused, stale = None, cast("bool | None", None)
        if call is None or call.checkpointer is None:
            refused, stale = "the call has already ended", True
        else:
            try:
                await call.checkpointer.save(from_json(body))
            except CheckpointRefused as error:
                refused, stale = str(error), error.stale
            except Exception as error:  # noqa: BLE001 - the function answers with its steps instead
                refused = f"{type(error).__name__}: {error}"
        self._frames.send({"t": "saved", "s": head["s"], "refused": refused, "stale": stale})

    async def _watch(self) -> None:
        """Wait for the process to end, then fail everything that waits for it.

        The exit counts, not the closing of the socket, which a forked child may keep open. Frames sent before the exit
        are given a moment to arrive.
        """
        status = await self._process.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_FRAMES_SECONDS):
                await self._closed.wait()
        self._frames.abort()
        self.ended.set_result(_how(status))
        if not self._loaded.done():
            self._loaded.set_exception(
                CodeProblem(
                    f"{self._locations}: the process loading the code {self.ended.result()} before it was ready"
                )
            )
            self._loaded.exception()  # marked as retrieved: the caller may have stopped waiting
        for call in list(self._calls.values()):
            if not call.answer.done():
                call.answer.set_exception(self._crash())

    def _lost(self) -> None:
        """The socket is closed."""
        self._closed.set()
        self._in_background(self._see_it_end())

    async def _see_it_end(self) -> None:
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._kill()

    def _crash(self) -> InvocationProblem:
        return InvocationProblem(
            ProblemKind.CRASHED,
            f"the process that runs your code {self.ended.result()} before this call was answered; the process is "
            "restarted, and its other calls failed too",
        )

    def _in_background(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _stamps(head: Head) -> Stamps:
    return {file: None if seen is None else (seen[0], seen[1]) for file, seen in head["files"].items()}


def _logged(head: Head) -> None:
    """Log a record of the other process here."""
    record = logging.LogRecord(head["name"], head["level"], "", 0, head["text"], None, None)
    record.created = head["at"]
    record.exc_text = head["trace"] or None
    with_origin(record, head["origin"])
    logging.getLogger().handle(record)


def _how(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
    return f"ended with exit status {status}"
