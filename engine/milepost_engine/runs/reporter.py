"""The app's side of an asynchronous invocation: check that it is still wanted, run, report the answer.

What may go wrong:
    delivered twice    the second finds that the first has begun, and does nothing
    overtaken          its discovery was recorded before it began: it sends a message instead, which continues the run
    cannot report      it fails, and Lambda's failure destination reports that
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from milepost.protocol import Response
from milepost_engine.core.ids import to_ms, ulid
from milepost_engine.core.run import Run
from milepost_engine.observe import Silent
from milepost_engine.ports import Blobs, Clock, Message, Queue, RandomSource
from milepost_engine.store.messages import CallToken, DoJob, encode
from milepost_engine.store.runs import RunStore

from .checkpoints import CheckpointSession, CheckpointWriter
from .reports import overtaken, report_body, wanted

__all__ = ["Reporter"]

_PAUSE_SECONDS: Final = 1.0
_LAST_SECONDS: Final = 2.0
"""With less time than this nothing is sent again: being cut off would tell less than the error."""


@dataclass(frozen=True, slots=True)
class Reporter:
    """See the module."""

    runs: RunStore
    blobs: Blobs
    queue: Queue
    clock: Clock
    random_source: RandomSource

    async def serve(
        self,
        token: CallToken,
        call: Callable[[CheckpointWriter], Awaitable[Response]],
        seconds_left: Callable[[], float],
    ) -> bool:
        """Call user code and report what it answers; False when that is not wanted any more."""
        run = await self.runs.load(token.run, token.fn)
        if run is None or not (wanted(run, token) or overtaken(run, token)) or not await self._begins(run, token):
            return False
        if not wanted(run, token):
            await self._resume(token, seconds_left)
            return False
        checkpointer = self._checkpointer(run)
        await self._report(token, checkpointer, await call(checkpointer), seconds_left)
        return True

    async def _begins(self, run: Run, token: CallToken) -> bool:
        """Whether this is the one invocation for its token: Lambda may deliver the call twice."""
        if not token.discovers:
            claim = await self.runs.step_claim(run, token.job)
            if claim is None or claim.owner != token.owner:
                return False
        return await self.runs.begin_call(run, token.owner, self._fresh_id())

    def _checkpointer(self, run: Run) -> CheckpointWriter:
        """Saves steps with the run as it was read, so that a later owner's invocation is not disturbed."""
        now = self.clock.now()
        session = CheckpointSession(run, run.owner, self.runs, self.clock, Silent(), now, fresh=False)

        async def opened() -> CheckpointSession:
            return session

        return CheckpointWriter(opened, session)

    async def _report(
        self, token: CallToken, checkpointer: CheckpointWriter, response: Response, seconds_left: Callable[[], float]
    ) -> None:
        name = self._fresh_id()

        async def report() -> str:
            return await report_body(token, await self._left_at(token, checkpointer), response, self.blobs, name)

        await self._send(seconds_left, report)

    async def _resume(self, token: CallToken, seconds_left: Callable[[], float]) -> None:
        """Have the run continue where it stands by now, under the claim that the call was made under.

        job        claims, hands its call over ──────────────────────────────────── call: begins, is overtaken
        a report                              (late) records the same discovery ── claims: too late
        """
        job = DoJob(token.run, token.fn, job=token.job, attempt=token.attempt, succeeds=token.owner)
        body = encode(replace(job, message_id=self._fresh_id()))

        async def written() -> str:
            return body

        await self._send(seconds_left, written)

    def _fresh_id(self) -> str:
        return ulid(to_ms(self.clock.now()), self.random_source.random_bytes(10))

    async def _send(self, seconds_left: Callable[[], float], write: Callable[[], Awaitable[str]]) -> None:
        """Put a message on the queue, however often that takes while there is time."""
        while True:
            try:
                await self.queue.send([Message(await write())])
            except ValueError:
                raise  # no queue will ever take it
            except Exception:
                if seconds_left() < _LAST_SECONDS:
                    raise
                await self.clock.sleep(_PAUSE_SECONDS * self.random_source.uniform())
            else:
                return

    async def _left_at(self, token: CallToken, checkpointer: CheckpointWriter) -> str:
        """The discovery that the run stands at after what this invocation has saved."""
        assert checkpointer.session is not None
        run: Run | None = checkpointer.session.run
        if checkpointer.unsure:
            run = await self.runs.load(token.run, token.fn)
        return run.discovery_job if run is not None and run.owner == token.owner else token.job
