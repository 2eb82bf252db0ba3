"""What an invocation is asked for: the server's call of a function, and the step calls of the function's code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .branches import MOST_USES
from .calls import StepCall

if TYPE_CHECKING:
    from milepost._declare.function import Mode
    from milepost._declare.retries import Retries

__all__ = ["CallRequest", "Step"]


@dataclass(slots=True, eq=False)
class Step:
    """A step call that has arrived. `wake` lets the function's code continue with it."""

    id: str
    index: int
    call: StepCall
    wake: Callable[[], None] = field(default=lambda: None)
    runs_here: bool = False
    """This invocation runs the body."""

    @property
    def nth(self) -> int:
        """Which use of the id it is in its branch, from 0."""
        return self.index % MOST_USES


@dataclass(frozen=True, slots=True)
class CallRequest:
    """One call of a function, as the server asked for it."""

    function_id: str
    run_id: str
    attempt: int
    max_attempts: int | None
    target: str
    order: tuple[str, ...]
    memos: Mapping[str, object]
    may_run_steps: bool = True
    """False: a discovery must only report (the server has planned steps in flight)."""
    may_continue: bool = False
    """The server is Milepost: one answer may carry a step and what follows it."""
    mode: Mode = "step"
    chain: int = 0
    """How many events led to the run, each from a run that the one before it had started."""

    retries: Retries | None = None
    """The policy of the function."""
    logged: int | None = None
    """How many stretches of code, of which one leads to the first step and one follows each in `order`, have written
    their log lines; None if the server does not say."""

    @property
    def place(self) -> str:
        """The function and the run, to follow a noun in a message."""
        return f"in function {self.function_id!r}, run {self.run_id}"

    def what(self, step: Step) -> str:
        """The step as errors name it."""
        nth = f" (use {step.nth + 1})" if step.nth else ""
        return f"step {step.call.name!r}{nth} of function {self.function_id!r}, run {self.run_id},"
