"""The context that a function receives: its event, its run and its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from typing_extensions import TypeVar

from milepost._values.events import CronTick, ReceivedEvent
from milepost._values.json_types import EventData

if TYPE_CHECKING:
    from .logger import RunLogger
    from .step_tools import Steps, SyncSteps

__all__ = ["Context", "SyncContext"]

D_co = TypeVar("D_co", covariant=True, default=EventData)


@dataclass(frozen=True, slots=True)
class _Context(Generic[D_co]):
    event: ReceivedEvent[D_co]
    """The event that started the run."""
    events: tuple[ReceivedEvent[D_co], ...]
    """All events that started the run; at least one."""
    run_id: str
    attempt: int
    """The attempt of this invocation, from 0. It starts at 0 again after each finished step."""
    max_attempts: int
    """Attempts of a step or the function in all, the first included; 0 if the server does not say."""
    function_id: str
    """The full id: app id and function id."""
    logger: RunLogger
    """Writes each line once, in parallel branches too: a replay repeats none. Each attempt of a step's body or of the
    function's own code writes its lines."""
    cron: CronTick | None
    """The tick that started the run; None if an event did."""


@dataclass(frozen=True, slots=True)
class Context(_Context[D_co]):
    """The argument of an `async def` function. In `Context[Model]`, `event.data` is an instance of the model."""

    step: Steps
    """The steps: await them."""


@dataclass(frozen=True, slots=True)
class SyncContext(_Context[D_co]):
    """The argument of a `def` function: the same as `Context`, with steps that are called without `await`."""

    step: SyncSteps
    """The steps: call them without `await`."""
