"""Direct access from an app's Lambda to the store of its runs; opened when a run first needs it."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from milepost_engine.runs.checkpoints import CheckpointWriter

    from .store import RunStores

__all__ = ["DirectStateStore", "stores"]


@functools.cache
def stores() -> RunStores:
    """The stores of this process."""
    from .store import open_stores  # noqa: PLC0415 - 0.2 s of imports that few calls need

    return open_stores(os.environ)


@dataclass
class DirectStateStore:
    """Implements `milepost.serving.RunStateStore` for one invocation of a run."""

    run_id: str
    function_id: str
    claim: str
    checkpointer: CheckpointWriter | None = None

    async def save(self, ops: Sequence[Mapping[str, object]]) -> None:
        """Save finished steps. Raises CheckpointRefused when the invocation must stop."""
        if self.checkpointer is None:
            self.checkpointer = stores().checkpointer(self.run_id, self.function_id, self.claim)
        await self.checkpointer.save(ops)

    async def load(self) -> tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]:
        """The run's events and finished steps. Raises LookupError when the run no longer exists."""
        return await stores().state(self.run_id, self.function_id)
