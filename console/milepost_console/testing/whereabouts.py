"""Where code waits that does not answer: which step or function, and at which line."""

from __future__ import annotations

import asyncio
import linecache
import sys
import sysconfig
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final

import milepost

__all__ = ["Whereabouts"]

_NOT_THEIRS: Final = tuple(
    str(Path(folder)) for folder in (Path(milepost.__file__).parent, sysconfig.get_path("stdlib"))
)
_OUTSIDE: Final = "the function itself, outside of its steps,"
_MAX_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class _Place:
    """A body or a function that has begun: its task, and its thread."""

    step: str | None
    task: asyncio.Task[Any] | None
    thread: int

    @property
    def what(self) -> str:
        return f"step {self.step!r}" if self.step is not None else _OUTSIDE


@dataclass
class Whereabouts:
    """Follows one invocation. `began` and `ended` are called in the task, or on the thread, that runs the code."""

    _places: list[_Place] = field(default_factory=list)

    def began(self, step: str | None) -> None:
        """A body begins; None: the function."""
        self._places.append(_Place(step, _current_task(), threading.get_ident()))

    def ended(self, step: str) -> None:
        """A body has ended."""
        here = _Place(step, _current_task(), threading.get_ident())
        if here in self._places:
            self._places.remove(here)

    def describe(self) -> list[str]:
        """A line for each place where the code waits now, the innermost of each task."""
        found = list(dict.fromkeys(self._lines()))
        return found[:_MAX_SHOWN] or ["at a place that cannot be determined"]

    def _lines(self) -> Iterator[str]:
        named = {place.task: place.what for place in self._places if place.task is not None}
        loops = {task.get_loop() for task in named}
        for loop in loops:
            for task in asyncio.all_tasks(loop):
                if (where := _innermost(_frames_of(task))) is not None:
                    yield f"{named.get(task) or f'the task {task.get_name()!r}'} waits at {where}"
        frames = sys._current_frames()  # noqa: SLF001 - the documented way to see another thread's code
        threads = {place.thread: place.what for place in self._places if place.task is None}
        for thread, what in threads.items():
            if (where := _innermost(_upwards(frames.get(thread)))) is not None:
                yield f"{what} waits at {where}"


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None  # a sync function: there is no running loop


def _frames_of(task: asyncio.Task[Any]) -> list[FrameType]:
    """The frames of a waiting task, outermost first: a suspended coroutine knows only whom it awaits."""
    found: list[FrameType] = []
    waiting: Any = task.get_coro()
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)
        if frame is not None:
            found.append(frame)
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "gi_yieldfrom", None)
    return found


def _upwards(frame: FrameType | None) -> list[FrameType]:
    """The frames of a thread, outermost first."""
    found: list[FrameType] = []
    while frame is not None:
        found.insert(0, frame)
        frame = frame.f_back
    return found


def _innermost(frames: list[FrameType]) -> str | None:
    """The last line of the user's own code."""
    for frame in reversed(frames):
        file = frame.f_code.co_filename
        if not file.startswith(_NOT_THEIRS):
            line = linecache.getline(file, frame.f_lineno).strip()
            return f"{file}:{frame.f_lineno}, in {frame.f_code.co_name}" + (f": {line}" if line else "")
    return None
