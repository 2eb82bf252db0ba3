"""Serves the user's code in the dev server: which process runs it, and when that process is replaced.

    load ──► serve ─────────────── a file changes: load ──► serve the new process; the old one finishes its calls
               │ the process ends: its calls fail
               └──► load ──► serve   (new calls wait until loading succeeds)

Only the serving process gets calls. Code that cannot be loaded changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from milepost.protocol import Header, Request, Response
from milepost_engine.ports import InvocationProblem, ProblemKind, Target

from .loader import AppLocation, Stamps, stamps_of
from .process import CodeProcess

if TYPE_CHECKING:
    from milepost.serving import Checkpointer

__all__ = ["CHECK_SECONDS", "KIND", "CodeHost"]

KIND: Final = "process"
"""The kind of target that a `CodeHost` serves."""
CHECK_SECONDS: Final = 0.2
"""Interval of checking the user's files for changes; checking 50 files takes 0.1 ms."""


class CodeHost:
    """Implements the Invoker port for `Target("process", app_id)`.

    `quiet_stdout` sends what the code prints to standard error. `checkpointer` makes, for a run id and a function id,
    the checkpointer that saves the run's steps (`Engine.checkpointer`).
    """

    def __init__(
        self, locations: Sequence[AppLocation], folder: Path, address: str, *, quiet_stdout: bool = False
    ) -> None:
        self._locations = locations
        self._folder = folder
        self._address = address
        self._quiet_stdout = quiet_stdout
        self._serving: CodeProcess | None = None
        self._processes: set[CodeProcess] = set()
        self._settled = asyncio.Event()
        self._stamps: Stamps = {}
        self._loss = ""
        self.checkpointer: Callable[[str, str, str], Checkpointer] | None = None

    @property
    def stamps(self) -> Stamps:
        """The files of the last load, successful or not, as they were at that time."""
        return self._stamps

    @property
    def serving(self) -> CodeProcess | None:
        """The process that gets the calls."""
        return self._serving

    async def load(self) -> CodeProcess:
        """Start a process with the current code; `serve` it or close it. Raises CodeProblem.

        Code that changes while it is loading is loaded again: the first load might never finish.
        """
        while True:
            before = stamps_of(self._stamps)
            process = await CodeProcess.start(
                self._locations, self._folder, self._address, before, quiet_stdout=self._quiet_stdout
            )
            self._processes.add(process)
            process.ended.add_done_callback(self._forget(process))
            try:
                while not await process.ready(CHECK_SECONDS) and stamps_of(before) == before:
                    pass
                if process.is_ready:
                    return process
            except BaseException:
                await process.close()
                raise
            finally:
                self._stamps = {**self._stamps, **process.stamps}
            await process.close()

    def _forget(self, process: CodeProcess) -> Callable[[object], None]:
        return lambda _: self._processes.discard(process)

    def serve(self, process: CodeProcess) -> None:
        """Send calls to this process from now on; the previous one finishes its calls and ends."""
        before, self._serving = self._serving, process
        self._settled.set()
        process.ended.add_done_callback(lambda _: self._lost(process))
        if before is not None:
            before.retire()

    def _lost(self, process: CodeProcess) -> None:
        if process is self._serving:
            self._serving, self._loss = None, process.ended.result()
            self._settled.clear()

    def take_loss(self) -> str:
        """How the serving process ended unexpectedly; empty if it did not. Returned once."""
        loss, self._loss = self._loss, ""
        return loss

    async def invoke(self, target: Target, request: Request) -> Response:
        """Call the app. Raises InvocationProblem when there is no answer."""
        try:
            async with asyncio.timeout(target.timeout_seconds):
                if self._serving is None:
                    await self._settled.wait()
                return await self._call(target.address, request)
        except TimeoutError:
            seconds = f"within {target.timeout_seconds:g} s"
            if self._serving is None:
                raise InvocationProblem(
                    ProblemKind.MISSING,
                    f"the code could not be loaded again {seconds}; see the server's terminal for the reason",
                ) from None
            raise InvocationProblem(
                ProblemKind.TIMEOUT, f"the code did not answer {seconds}; it may still be running"
            ) from None

    async def _call(self, app_id: str, request: Request) -> Response:
        if self._serving is None or app_id not in self._serving.manifests:
            raise InvocationProblem(
                ProblemKind.MISSING, f"app {app_id!r} is not loaded by this server; start the server with its file"
            )
        run_id = request.headers.get(Header.RUN_ID.value)
        checkpointer = None
        if self.checkpointer is not None and run_id:
            checkpointer = self.checkpointer(run_id, request.query["fnId"], request.headers.get(Header.CLAIM.value, ""))
        return await self._serving.call(app_id, request, checkpointer)

    async def close(self) -> None:
        """End every process at once."""
        self._serving = None
        await asyncio.gather(*(process.close() for process in list(self._processes)))
