"""`ctx.logger`: the app's logger, silent during replay, with the function, run and step on every record."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Hashable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from milepost._values.current import after_step, in_body, in_run

if TYPE_CHECKING:
    from .log_gate import WrittenLines
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

    def __init__(self, real: logging.Logger, invocation: Invocation, written: WrittenLines) -> None:
        super().__init__(real.name)
        self.parent = real
        self.manager = real.manager
        self._real = real
        self._log_gate = invocation.log_gate
        self._call = invocation.call
        self._written = written
        self._uses: Counter[Hashable] = Counter()
        if self._call.logged == 0 and self._call.attempt == 0:
            written.begin(self._call.run_id)

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - name of the base class
        return not self._log_gate.muted and self._real.isEnabledFor(level)

    def handle(self, record: logging.LogRecord) -> None:
        if self._call.logged is None or in_body.get() is not None:
            self._log_gate.write(lambda: self._real.handle(record))
            return
        here = (after_step.get(), self._call.attempt, record.pathname, record.lineno, record.getMessage())
        self._uses[here] += 1
        line = hash((*here, self._uses[here]))

        def write() -> None:
            if self._written.claim(self._call.run_id, line):
                self._real.handle(record)

        self._log_gate.write(write)


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds to each record, and to the `extra` of the log call: function_id, run_id, attempt, in a step also step, and
    elsewhere after_step, the last step of this branch.
    """

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        """Merge both sources of extra fields; those of the log call take precedence."""
        own: Mapping[str, object] = self.extra or {}
        here = log_origin()
        if "step" in here and here["run_id"] == own["run_id"]:
            own = {**own, "attempt": here["attempt"], "step": here["step"]}
        elif (after := after_step.get()) is not None:
            own = {**own, "after_step": after[0]}
        kwargs["extra"] = {**own, **(kwargs.get("extra") or {})}
        return msg, kwargs


def run_logger(real: logging.Logger, invocation: Invocation, written: WrittenLines) -> RunLogger:
    """The logger of one invocation."""
    call = invocation.call
    ids = {"function_id": call.function_id, "run_id": call.run_id, "attempt": call.attempt}
    return RunLogger(_GatedLogger(real, invocation, written), ids)
