"""`ctx.logger`: the app's logger, silent during replay, with the function, run and step on every record."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from milepost._values.current import in_body, in_run

if TYPE_CHECKING:
    from .replay import Invocation

__all__ = ["RunLogger", "log_origin", "run_logger"]


def log_origin() -> dict[str, object]:
    """The function, run, attempt and, in a step, the step of the code in this context, for log records.

    Keys: function_id, run_id, attempt and, in a step, step and step_id. Empty outside of runs, and in threads that your
    code starts.
    """
    invocation = in_run.get()
    if invocation is None:
        return {}
    call, step = invocation.call, in_body.get()
    origin: dict[str, object] = {"function_id": call.function_id, "run_id": call.run_id, "attempt": call.attempt}
    if step is not None:
        origin |= {"attempt": invocation.attempt, "step": step.call.name, "step_id": step.id}
    return origin


class _GatedLogger(logging.Logger):
    """A stand-in for the app's logger, for one invocation: its records go through the log gate."""

    def __init__(self, real: logging.Logger, invocation: Invocation) -> None:
        super().__init__(real.name)
        self.parent = real
        self.manager = real.manager
        self._real = real
        self._log_gate = invocation.log_gate

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - name of the base class
        return not self._log_gate.muted and self._real.isEnabledFor(level)

    def handle(self, record: logging.LogRecord) -> None:
        self._log_gate.write(lambda: self._real.handle(record))


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds function_id, run_id, attempt and, in a step, step to each record, and to the `extra` of the log call."""

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        """Merge both sources of extra fields; those of the log call take precedence."""
        own: Mapping[str, object] = self.extra or {}
        here = log_origin()
        if "step" in here and here["run_id"] == own["run_id"]:
            own = {**own, "attempt": here["attempt"], "step": here["step"]}
        kwargs["extra"] = {**own, **(kwargs.get("extra") or {})}
        return msg, kwargs


def run_logger(real: logging.Logger, invocation: Invocation) -> RunLogger:
    """The logger of one invocation."""
    call = invocation.call
    ids = {"function_id": call.function_id, "run_id": call.run_id, "attempt": call.attempt}
    return RunLogger(_GatedLogger(real, invocation), ids)
