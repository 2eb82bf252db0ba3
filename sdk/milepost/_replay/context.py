"""What a function is given: its event, its run and its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from milepost._values.events import CronTick, ReceivedEvent

if TYPE_CHECKING:
    from .logger import RunLogger
    from .steps import Steps, SyncSteps

__all__ = ["Context", "SyncContext"]

D_co = TypeVar("D_co", covariant=True, default=dict[str, Any])


@dataclass(frozen=True, slots=True)
class _Context(Generic[D_co]):
    event: ReceivedEvent[D_co]
    """What started the run."""
    events: tuple[ReceivedEvent[D_co], ...]
    """All events that started the run; at least one."""
    run_id: str
    attempt: int
    """Which try this invocation is, from 0. Counted anew after each finished step."""
    max_attempts: int
    function_id: str
    """The full id: app id and function id."""
    logger: RunLogger
    """Writes each line once: lines of replayed history do not appear again."""
    cron: CronTick | None
    """The tick that started the run, if a cron did."""


@dataclass(frozen=True, slots=True)
class Context(_Context[D_co]):
    """What an `async def` function is given. `Context[Model]` has `event.data` of that model."""

    step: Steps


@dataclass(frozen=True, slots=True)
class SyncContext(_Context[D_co]):
    """What a `def` function is given. The same as `Context`, with steps that are called without `await`."""

    step: SyncSteps
