"""The app's side of an invocation that nobody waits for: look whether it is still wanted, run, report the answer.

What may go wrong:
    delivered twice    the second finds the run moved on and does nothing; before that it runs the step as well
    cannot report      it fails, and whoever handed it over is told of that
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from .checkpoints import CheckpointSession, Saver
from .core.ids import to_ms, ulid
from .core.run import Run
from .observe import Silent
from .ports import Blobs, Chance, Clock, Message, Queue, Response
from .reports import Slip, report_body, wanted
from .store import RunStore

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
    chance: Chance

    async def serve(
        self, slip: Slip, call: Callable[[Saver], Awaitable[Response]], seconds_left: Callable[[], float]
    ) -> bool:
        """Call user code and report what it answers; False when that is not wanted any more."""
        run = await self.runs.load(slip.run, slip.fn)
        if run is None or not wanted(run, slip):
            return False
        saver = self._saver(run)
        await self._report(slip, saver, await call(saver), seconds_left)
        return True

    def _saver(self, run: Run) -> Saver:
        """Saves steps with the run as it was looked at, so that a later owner's invocation is not disturbed."""
        now = self.clock.now()
        session = CheckpointSession(run, self.runs, self.clock, Silent(), now, fresh=False)

        async def opened() -> CheckpointSession:
            return session

        return Saver(opened, session)

    async def _report(self, slip: Slip, saver: Saver, response: Response, seconds_left: Callable[[], float]) -> None:
        """Put the report on the queue, however often that takes while there is time."""
        name = ulid(to_ms(self.clock.now()), self.chance.random_bytes(10))
        while True:
            try:
                at = await self._left_at(slip, saver)
                body = await report_body(slip, at, response, self.blobs, name)
                await self.queue.send([Message(body)])
            except ValueError:
                raise  # no queue will ever take it
            except Exception:
                if seconds_left() < _LAST_SECONDS:
                    raise
                await self.clock.sleep(_PAUSE_SECONDS * self.chance.uniform())
            else:
                return

    async def _left_at(self, slip: Slip, saver: Saver) -> str:
        """The discovery that the run stands at after what this invocation has saved."""
        assert saver.session is not None
        run: Run | None = saver.session.run
        if saver.unsure:
            run = await self.runs.load(slip.run, slip.fn)
        return run.discovery_job if run is not None and run.owner == slip.owner else slip.job
