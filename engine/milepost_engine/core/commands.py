"""What the machine asks for, imperative. Each is safe to repeat."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .inputs import TimerKind
from .run import OpenOp

__all__ = ["Command", "FinishRun", "Invoke", "OpenWait", "SetTimer", "StartAgain", "StartRunFor"]


@dataclass(frozen=True, slots=True)
class Invoke:
    """Call user code for a job, not before `at`."""

    job: str
    attempt: int
    at: datetime


@dataclass(frozen=True, slots=True)
class SetTimer:
    kind: TimerKind
    due_at: datetime
    step_id: str = ""


@dataclass(frozen=True, slots=True)
class OpenWait:
    """Register this wait, so matching events find it."""

    op: OpenOp
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class StartRunFor:
    """Start the run that an invoke asks for; its result goes back to the step."""

    op: OpenOp


@dataclass(frozen=True, slots=True)
class StartAgain:
    """Send once more the message of the run that an invoke started; nothing if it started none."""

    op: OpenOp


@dataclass(frozen=True, slots=True)
class FinishRun:
    """The run has ended: close its waits, notify its parent, publish the event."""


Command = Invoke | SetTimer | OpenWait | StartRunFor | StartAgain | FinishRun
