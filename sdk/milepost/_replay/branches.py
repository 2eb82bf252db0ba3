"""Numbers the uses of each step id within a branch of the function: a task, or a member of `parallel`.

Which branch gets to a step first depends on the time. How often a branch has used an id itself does not, and neither
does where it was begun. So the number of a use, of which the step's wire id is made, comes from these:

    the function itself              0, 1, 2 …           as in the protocol, for a server of another kind too
    a branch of it, or a branch's    base + 0, 1, 2 …    `base` is a hash of where the branch was begun
A step tool that is called in one branch and awaited in another, as by `gather(step.run(…), step.run(…))`, belongs to
the one that called it.
"""

from __future__ import annotations

import hashlib
import sys
from contextvars import ContextVar
from types import CodeType, FrameType
from typing import Final

from milepost._values.current import in_body

__all__ = ["MOST_USES", "STEP_TOOLS", "Branch", "child_of_task", "current_branch"]

MOST_USES: Final = 1 << 17
"""More uses of one id than a run may have steps."""
STEP_TOOLS: Final[set[CodeType]] = set()
"""The code of the step tools, whose coroutines belong to the branch that called them."""
_HASH_BYTES: Final = 8
_MOST_BASES: Final = 1 << 45
_TRANSPARENT: Final = frozenset({"asyncio", "anyio", "milepost", "contextlib", "functools", "concurrent"})
"""Packages that begin tasks for whoever calls them."""


class Branch:
    """A line of the function's code that runs beside others. `begun_at` is its place: the branches it is in."""

    __slots__ = ("_base", "_begun", "_begun_at", "_uses")

    def __init__(self, begun_at: str = "") -> None:
        self._begun_at = begun_at
        self._base = _base_of(begun_at) if begun_at else 0
        self._uses: dict[str, int] = {}
        self._begun: dict[str, int] = {}

    def use(self, name: object) -> int:
        """The number of a use of a step id that begins now."""
        if type(name) is not str:
            return self._base  # refused when the step is awaited
        number = self._uses.get(name, self._base)
        self._uses[name] = number + 1
        return number

    def begin(self, by: str = "") -> Branch:
        """A branch that begins in this one. `by`: the package that begins it; each counts its own."""
        number = self._begun.get(by, 0)
        self._begun[by] = number + 1
        return Branch(f"{self._begun_at}/{by}{number}")


def _base_of(begun_at: str) -> int:
    digest = hashlib.sha256(begun_at.encode()).digest()
    return (int.from_bytes(digest[:_HASH_BYTES]) % _MOST_BASES + 1) * MOST_USES


current_branch: Final[ContextVar[Branch | None]] = ContextVar("milepost_branch", default=None)
"""The branch whose code is running in this context; None outside of async functions."""


def child_of_task(code: object) -> Branch | None:
    """The branch of a task that is created now for a coroutine of this code.

    None if it is none: for a step, in the body of one, and outside of functions.
    """
    parent = current_branch.get()
    if parent is None or code in STEP_TOOLS or in_body.get() is not None:
        return None
    return parent.begin(_creator())


def _creator() -> str:
    """The package whose code creates a task: what a library does with its own tasks must not count as the user's."""
    # `inspect` takes a hundred times as long.
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in _TRANSPARENT:
            return package
        frame = frame.f_back
    return ""
