"""`ctx.logger`: the app's logger, silent while history is replayed, with the ids of the run on every line."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

from ._journal import Journal

__all__ = ["RunLogger", "run_logger"]


class _GatedLogger(logging.Logger):
    """A stand-in for the app's logger that sends its records through the journal. Belongs to one invocation."""

    def __init__(self, real: logging.Logger, journal: Journal) -> None:
        super().__init__(real.name)
        self.parent = real
        self.manager = real.manager
        self._real = real
        self._journal = journal

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - name of the base class
        return not self._journal.muted and self._real.isEnabledFor(level)

    def handle(self, record: logging.LogRecord) -> None:
        self._journal.write(lambda: self._real.handle(record))


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds function_id, run_id and attempt to each record, besides the `extra` of the call."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Merge both sources of extra fields; those of the call win."""
        own: Mapping[str, object] = self.extra or {}
        kwargs["extra"] = {**own, **(kwargs.get("extra") or {})}
        return msg, kwargs


def run_logger(real: logging.Logger, journal: Journal, function_id: str, run_id: str, attempt: int) -> RunLogger:
    """The logger of one invocation."""
    ids = {"function_id": function_id, "run_id": run_id, "attempt": attempt}
    return RunLogger(_GatedLogger(real, journal), ids)
