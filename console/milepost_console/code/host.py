"""Serves the code of a dev server's user: which process has it now, what replaces it, what becomes of one that ends.

    load ──► serve ─────────────── a change: load ──► serve the new one, the old one ends what it has in hand
               │ the process ends: what it had in hand failed
               └──► load ──► serve   (calls wait meanwhile, however often that is tried)

Only the process that is served gets calls. One that cannot be loaded changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from milepost.protocol import Header, Request, Response
from milepost_engine.ports import InvocationProblem, ProblemKind, Target

from .loader import AppLocation, Stamps, look_at
from .process import CodeProcess

if TYPE_CHECKING:
    from milepost.serving import Checkpointer

__all__ = ["KIND", "LOOK_SECONDS", "CodeHost"]

KIND: Final = "process"
"""The kind of target that a `CodeHost` is asked for."""
LOOK_SECONDS: Final = 0.2
"""How often changes of the user's files are looked for; 50 files cost 0.1 ms."""


class CodeHost:
    """Implements the Invoker port for `Target("process", app_id)`.

    `quiet_stdout`: what the code prints goes to standard error. `checkpointer` gives for the ids of a run and its
    function what a checkpointing function saves its steps with (`Engine.checkpointer`).
    """

    def __init__(
        self, places: Sequence[AppLocation], folder: Path, address: str, *, quiet_stdout: bool = False
    ) -> None:
        self._places = places
        self._folder = folder
        self._address = address
        self._quiet_stdout = quiet_stdout
        self._serving: CodeProcess | None = None
        self._processes: set[CodeProcess] = set()
        self._settled = asyncio.Event()
        self._stamps: Stamps = {}
        self._loss = ""
        self.checkpointer: Callable[[str, str], Checkpointer] | None = None

    @property
    def stamps(self) -> Stamps:
        """The files of the code that was loaded last, also when that failed, as they were then."""
        return self._stamps

    @property
    def serving(self) -> CodeProcess | None:
        """The process that gets the calls."""
        return self._serving

    async def load(self) -> CodeProcess:
        """A process with the code as it is now; `serve` it, or close it. Raises CodeProblem.

        Code that changes while it is loaded is loaded anew: it may never have come to an end.
        """
        while True:
            before = look_at(self._stamps)
            process = await CodeProcess.start(
                self._places, self._folder, self._address, before, quiet_stdout=self._quiet_stdout
            )
            self._processes.add(process)
            process.ended.add_done_callback(self._forget(process))
            try:
                while not await process.ready(LOOK_SECONDS) and look_at(before) == before:
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
        """Give it the calls from now on; the one before ends what it has in hand."""
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
        """How the process that was served ended by itself, told once; empty when it has not."""
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
                    ProblemKind.MISSING, f"the code could not be loaded again {seconds}; the server's terminal says why"
                ) from None
            raise InvocationProblem(
                ProblemKind.TIMEOUT, f"the code did not answer {seconds}; it may still run"
            ) from None

    async def _call(self, app_id: str, request: Request) -> Response:
        if self._serving is None or app_id not in self._serving.manifests:
            raise InvocationProblem(
                ProblemKind.MISSING, f"app {app_id!r} is not loaded by this server; serve its file again"
            )
        run_id = request.headers.get(Header.RUN_ID.value)
        checkpointer = self.checkpointer(run_id, request.query["fnId"]) if self.checkpointer and run_id else None
        return await self._serving.call(app_id, request, checkpointer)

    async def close(self) -> None:
        """End every process now."""
        self._serving = None
        await asyncio.gather(*(process.close() for process in list(self._processes)))
