"""What a person can still read of lines that pass: the first of each second, and a summary of the others.

many      ✓ ✓ ✗ ✓ … 60 in this second ─── the others are counted ─── "812 more lines: 270 runs started, …"
problems  have places of their own, so that a crowd of successes does not hide them
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from milepost_engine.ports import Clock

__all__ = ["READABLE", "Readable"]

READABLE: Final = 60
"""Lines of one second that are shown, and as many problems."""
_WINDOW: Final = timedelta(seconds=1)


class Readable:
    """Decides which lines are shown. `report` is called with the summary of those that were not."""

    def __init__(self, clock: Clock, report: Callable[[str], None]) -> None:
        self._clock = clock
        self._report = report
        self._ends = datetime.min.replace(tzinfo=clock.now().tzinfo)
        self._shown: Counter[bool] = Counter()
        self._hidden: Counter[str] = Counter()
        self._summary: asyncio.Task[None] | None = None

    def shows(self, kind: str, *, problem: bool = False) -> bool:
        """Whether to show a line now. `kind` is how the summary counts it, such as `runs started`."""
        now = self._clock.now()
        if now >= self._ends:
            self.sum_up()
            self._ends = now + _WINDOW
            self._shown.clear()
        if self._shown[problem] < READABLE:
            self._shown[problem] += 1
            return True
        self._hidden[kind] += 1
        if self._summary is None or self._summary.done():
            with contextlib.suppress(RuntimeError):  # a log record of another thread: a later line sums up
                self._summary = asyncio.get_running_loop().create_task(self._sum_up_later(self._ends - now))
        return False

    def sum_up(self) -> None:
        """Report what was not shown, if anything."""
        if not self._hidden:
            return
        count = self._hidden.total()
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in self._hidden.most_common())
        self._hidden.clear()
        self._report(
            f"{count:,} more line{'s' if count > 1 else ''}, too fast to read: {kinds}. The dashboard shows all."
        )

    async def _sum_up_later(self, span: timedelta) -> None:
        try:
            await self._clock.sleep(span.total_seconds())
        finally:
            self.sum_up()
