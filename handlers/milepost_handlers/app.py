"""A user's app as Lambda handler that reaches its runs' store itself: `MilepostApp` packs it around the app.

In checkpoint mode each finished step is saved by one conditional write before the next begins; what is too large for
a call is read from the table. Both are set up when a run first needs them, so that other calls start as fast as ever.
A call that comes with a slip is one that nobody waits for: its answer is reported (`reporting.py`).

MILEPOST_TABLE, MILEPOST_BUCKET     the store; without them the app behaves like `app.lambda_handler()`
MILEPOST_QUEUE_URL                  the work queue, of an app that reports
MILEPOST_RETENTION_DAYS             how long ended runs are kept; 30 by default
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from milepost import App

if TYPE_CHECKING:
    from milepost._lambda import LambdaHandler
    from milepost_engine.checkpoints import Saver

    from .store import RunStores

__all__ = ["Kept", "lambda_handler", "stores"]


def lambda_handler(app: App) -> LambdaHandler:
    """The Lambda's handler."""
    if not os.environ.get("MILEPOST_TABLE"):
        return app.lambda_handler()
    answer = app.lambda_handler(Kept)

    def handler(event: Mapping[str, Any], context: Any = None) -> dict[str, Any]:
        slip = event.get("milepost")
        if slip is None:
            return answer(event, context)
        from .reporting import run_and_report  # noqa: PLC0415 - 0.2 s of imports that only some calls need

        return run_and_report(app, event, context, slip, stores())

    return handler


@functools.cache
def stores() -> RunStores:
    """The stores of this process."""
    from .store import open_stores  # noqa: PLC0415 - 0.2 s of imports that only some calls need

    return open_stores(os.environ)


@dataclass
class Kept:
    """Implements `milepost.Keeper` for one invocation of a run."""

    run_id: str
    function_id: str
    saver: Saver | None = None

    async def save(self, ops: Sequence[Mapping[str, object]]) -> None:
        """Save finished steps. Raises CheckpointRefused when the invocation must stop."""
        if self.saver is None:
            self.saver = stores().saver(self.run_id, self.function_id)
        await self.saver.save(ops)

    async def load(self) -> tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]:
        """The run's events and finished steps. Raises LookupError when the run is gone."""
        return await stores().state(self.run_id, self.function_id)
