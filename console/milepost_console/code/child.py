"""The process that runs user code: imports it, answers the dev server's calls and forwards its logs.

It never outlives the server: when the socket closes, the process exits at once and cuts off whatever is running. Ctrl-C
reaches both processes; only the server reacts to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import io
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic_core import to_json

from milepost import App
from milepost.errors import CheckpointRefused, MilepostError
from milepost.protocol import Request
from milepost_console.dev.log_origin import origin_of
from milepost_console.dev.startup import keep_loaded, log_to

from .frames import Frames, Head
from .loader import AppLocation, CodeProblem, Loader

__all__ = ["main"]

_PR_SET_PDEATHSIG: Final = 1


class _Lines(logging.Handler):
    """Sends log records to the server, from any thread, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: Frames | None = None
        self._waiting: deque[dict[str, object]] = deque()
        self._scheduled = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.format(record)
            line = {
                "t": "log",
                "level": record.levelno,
                "name": _sendable(record.name),
                "at": record.created,
                "text": _sendable(record.message),
                "trace": _sendable("\n".join(filter(None, (record.exc_text, record.stack_info)))),
                "origin": {name: _sendable(value) for name, value in origin_of(record).items()},
            }
        except Exception:  # noqa: BLE001 - logging must never break what logs
            self.handleError(record)
            return
        self._waiting.append(line)
        self.hand_over()

    def hand_over(self) -> None:
        """Have the loop send the waiting records."""
        if self.frames is not None and not self._scheduled:
            self._scheduled = True
            self.frames.call_soon_threadsafe(self._send)

    def _send(self) -> None:
        assert self.frames is not None
        self._scheduled = False
        while self._waiting:
            self.frames.send(self._waiting.popleft())


def _sendable(value: object) -> str | int:
    """A log record's value as JSON can carry it: bytes that are not UTF-8 (file names) are escaped."""
    return value if isinstance(value, int) else str(value).encode("utf-8", "backslashreplace").decode()


class _Child:
    """Answers frames until the server says stop."""

    def __init__(self, apps: Mapping[str, App]) -> None:
        self._apps = apps
        self._frames = Frames(self._receive, self._cut_off)
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._saves: dict[int, asyncio.Future[None]] = {}
        self._last_save = 0

    async def serve(self, connected: socket.socket, lines: _Lines, loaded: Head) -> None:
        """Report the result of loading, then serve."""
        connected.setblocking(False)
        await asyncio.get_running_loop().create_connection(lambda: self._frames, sock=connected)
        lines.frames = self._frames
        lines.hand_over()
        self._frames.send(loaded)
        await self._stopped
        self._frames.close()

    def _receive(self, head: Head, body: bytes) -> None:
        match head["t"]:
            case "call":
                task = asyncio.get_running_loop().create_task(self._answer(head, body))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case "saved":
                self._saved(head)
            case "stop":
                self._stopped.set_result(None)
            case other:
                raise ValueError(f"the dev server sent a frame of unknown kind {other!r}")

    def _cut_off(self) -> None:
        if not self._stopped.done():
            os._exit(1)

    async def _answer(self, head: Head, body: bytes) -> None:
        number = head["n"]
        request = Request(head["method"], head["query"], head["headers"], body)
        checkpointer = _Checkpointer(self, number) if head["saves"] else None
        try:
            answer = await self._apps[head["app"]].handle(request, checkpointer=checkpointer, authenticated=True)
        except Exception as error:  # noqa: BLE001 - reported to the server
            self._frames.send({"t": "failed", "n": number, "text": f"{type(error).__name__}: {error}"})
        else:
            head = {"t": "answer", "n": number, "status": answer.status, "headers": dict(answer.headers)}
            self._frames.send(head, answer.body)

    def save(self, number: int, ops: Sequence[Mapping[str, object]]) -> asyncio.Future[None]:
        """Send finished steps of a call to the server."""
        self._last_save += 1
        saved = self._saves[self._last_save] = asyncio.get_running_loop().create_future()
        self._frames.send({"t": "save", "n": number, "s": self._last_save}, to_json(list(ops)))
        return saved

    def _saved(self, head: Head) -> None:
        saved = self._saves.pop(head["s"])
        if saved.done():
            return
        refused = head.get("refused")
        if refused is None:
            saved.set_result(None)
        elif head["stale"] is None:
            saved.set_exception(OSError(refused))
        else:
            saved.set_exception(CheckpointRefused(refused, stale=head["stale"]))


@dataclass(frozen=True, slots=True)
class _Checkpointer:
    """Saves the finished steps of one call through the server."""

    child: _Child
    number: int

    async def save(self, ops: Sequence[Mapping[str, object]]) -> None:
        """Raises CheckpointRefused when the invocation must stop."""
        await self.child.save(self.number, ops)


def _end_with(server: socket.socket) -> None:
    """Exit when the server is gone while code is loading and no frames are read yet. Stops at the first frame."""
    if not server.recv(1, socket.MSG_PEEK):
        os._exit(1)


def _be_killed_with(server_pid: int) -> None:
    """Have Linux kill this process when its server ends, even while user code blocks the interpreter.

    See prctl(2), PR_SET_PDEATHSIG.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # a system library without it
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server_pid:
        os._exit(1)  # the server ended first


def _load(options: Mapping[str, Any]) -> tuple[dict[str, App], dict[str, object]]:
    """The apps, and the frame that reports them to the server."""
    folder = Path(options["folder"])
    locations = [
        AppLocation(text, module, Path(root), attribute) for text, module, root, attribute in options["locations"]
    ]
    loader = Loader(locations, folder, options["files"])
    try:
        apps = loader.load()
        manifests = {app_id: app.manifest(f"{options['address']}/process/{app_id}") for app_id, app in apps.items()}
    except (CodeProblem, MilepostError) as problem:
        return {}, {"t": "problem", "text": str(problem), "files": loader.stamps}
    return apps, {"t": "ready", "manifests": manifests, "files": loader.stamps}


async def _serve(server: socket.socket, lines: _Lines, apps: Mapping[str, App], loaded: Head) -> None:
    await _Child(apps).serve(server, lines, loaded)


def main(arguments: Sequence[str]) -> None:
    """`child <file descriptor> <JSON>`: see `process.py`, which starts it."""
    # A handler, since programs that user code starts would inherit SIG_IGN.
    signal.signal(signal.SIGINT, lambda *_: None)
    server = socket.socket(fileno=int(arguments[0]))
    server.set_inheritable(False)
    options = json.loads(arguments[1])
    _be_killed_with(options["server"])
    threading.Thread(target=_end_with, args=(server,), name="milepost-end", daemon=True).start()
    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):  # noqa: TID251 - what user code prints is its own
        if isinstance(stream, io.TextIOWrapper):
            # Shows printed lines at once even when the output is not a terminal.
            stream.reconfigure(line_buffering=True)
    lines = _Lines()
    log_to(lines)
    apps, loaded = _load(options)
    keep_loaded()
    asyncio.run(_serve(server, lines, apps, loaded))


if __name__ == "__main__":
    main(sys.argv[1:])
