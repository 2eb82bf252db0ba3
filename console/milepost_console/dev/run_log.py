"""What user code logs, kept in memory by run for the dev server's run page.

A line belongs to the run, step and attempt whose code wrote it: `ctx.logger` records that itself, for other loggers the
context does. Memory is bounded: each run keeps its latest lines, and above the limit for all runs, the run that logged
least recently is dropped first. Lines may come from any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Lock
from typing import Final, Protocol

from milepost_engine.core.run import Run
from milepost_engine.store.registry import RegisteredApp

from .log_origin import origin_of

__all__ = ["LoggedLine", "RunLog", "RunLogHandler", "RunLogMemory", "RunLogs", "collect_lines"]

LINES_OF_A_RUN: Final = 1000
LINES_OF_ALL: Final = 20_000
CHARS_OF_ALL: Final = 20_000_000
MAX_CHARS: Final = 4000
_MAX_WATCHED: Final = 50
_MAX_COUNTED: Final = 20_000
_NOTIFY_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class LoggedLine:
    """One line. `number` counts a run's lines from 0; `source` is a logger or a CloudWatch log group."""

    number: int
    at: datetime
    level: str
    source: str
    text: str
    step: str = ""
    step_id: str = ""
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class RunLog:
    """The lines of a run, as far as they are kept.

    Args:
        kept: "memory" (of a dev server), "cloudwatch", or "elsewhere" (where the app runs).
        lines: Oldest first.
        cut: How many older lines were dropped; -1 when there are more lines, uncounted.
        since: When keeping lines began; None without such a limit.
    """

    kept: str
    lines: tuple[LoggedLine, ...] = ()
    cut: int = 0
    since: datetime | None = None


class RunLogs(Protocol):
    """Reads the lines of runs."""

    async def of(self, run: Run, app: RegisteredApp | None) -> RunLog:
        """`app` is the run's app, if still registered. Raises Refused when the lines cannot be read."""
        ...


@dataclass(slots=True)
class _Kept:
    lines: deque[LoggedLine] = field(default_factory=deque)
    count: int = 0


class RunLogMemory:
    """See the module. `changed` is called on the logging thread with the id of each watched run that has a new line."""

    def __init__(
        self,
        since: datetime,
        *,
        of_a_run: int = LINES_OF_A_RUN,
        of_all: int = LINES_OF_ALL,
        chars_of_all: int = CHARS_OF_ALL,
    ) -> None:
        self.since = since
        self.changed: Callable[[str], None] = lambda _: None
        self._of_a_run = of_a_run
        self._of_all = of_all
        self._chars_of_all = chars_of_all
        self._runs: OrderedDict[str, _Kept] = OrderedDict()
        self._counted: OrderedDict[str, int] = OrderedDict()
        self._watched: OrderedDict[str, None] = OrderedDict()
        self._total = 0
        self._chars = 0
        self._lock = Lock()

    def write(self, run_id: str, line: LoggedLine) -> None:
        """Keep a line of a run and number it."""
        with self._lock:
            kept = self._runs.get(run_id) or _Kept(count=self._counted.pop(run_id, 0))
            self._runs[run_id] = kept
            self._runs.move_to_end(run_id)
            numbered = _numbered(line, kept.count)
            kept.lines.append(numbered)
            kept.count += 1
            self._count(numbered, 1)
            if len(kept.lines) > self._of_a_run:
                self._count(kept.lines.popleft(), -1)
            while len(self._runs) > 1 and (self._total > self._of_all or self._chars > self._chars_of_all):
                self._forget()
            watched = run_id in self._watched
        if watched:
            self.changed(run_id)

    def _count(self, line: LoggedLine, sign: int) -> None:
        self._total += sign
        self._chars += sign * len(line.text)

    def _forget(self) -> None:
        """Drop the run that logged least recently; only its line count is kept."""
        run_id, forgotten = self._runs.popitem(last=False)
        for line in forgotten.lines:
            self._count(line, -1)
        self._counted[run_id] = forgotten.count
        if len(self._counted) > _MAX_COUNTED:
            self._counted.popitem(last=False)

    async def of(self, run: Run, app: RegisteredApp | None) -> RunLog:  # noqa: ARG002 - all apps log to this memory
        """The lines of a run, which is watched from now on."""
        return self.read(run.run_id)

    def read(self, run_id: str) -> RunLog:
        """Like `of`, by run id."""
        with self._lock:
            self._watched[run_id] = None
            self._watched.move_to_end(run_id)
            if len(self._watched) > _MAX_WATCHED:
                self._watched.popitem(last=False)
            kept = self._runs.get(run_id) or _Kept(count=self._counted.get(run_id, 0))
            return RunLog("memory", tuple(kept.lines), kept.count - len(kept.lines), self.since)


def _numbered(line: LoggedLine, number: int) -> LoggedLine:
    text = line.text if len(line.text) <= MAX_CHARS else f"{line.text[:MAX_CHARS]}… ({len(line.text)} characters)"
    return replace(line, number=number, text=text)


class RunLogHandler(logging.Handler):
    """Keeps the records that runs' code logs and ignores others."""

    def __init__(self, memory: RunLogMemory) -> None:
        super().__init__()
        self._memory = memory

    def emit(self, record: logging.LogRecord) -> None:
        try:
            origin = origin_of(record)
            if origin:
                self._memory.write(str(origin["run_id"]), self._line(record, origin))
        except Exception:  # noqa: BLE001 - logging must never break what logs
            self.handleError(record)

    def _line(self, record: logging.LogRecord, origin: Mapping[str, object]) -> LoggedLine:
        attempt = origin.get("attempt")
        return LoggedLine(
            number=0,
            at=datetime.fromtimestamp(record.created, UTC),
            level=record.levelname,
            source=record.name,
            text=self.format(record),
            step=str(origin.get("step", "")),
            step_id=str(origin.get("step_id", "")),
            attempt=attempt if isinstance(attempt, int) else None,
        )


@contextlib.contextmanager
def collect_lines(memory: RunLogMemory, notify: Callable[[str], None]) -> Iterator[None]:
    """Keep what is logged during the block. `notify` gets ids of runs with new lines, batched, on this event loop."""
    loop = asyncio.get_running_loop()
    pending: set[str] = set()

    def flush() -> None:
        for run_id in sorted(pending):
            notify(run_id)
        pending.clear()

    def note(run_id: str) -> None:
        if not pending:
            loop.call_later(_NOTIFY_SECONDS, flush)
        pending.add(run_id)

    def changed(run_id: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, but a thread of user code still logs
            loop.call_soon_threadsafe(note, run_id)

    memory.changed = changed
    handler = RunLogHandler(memory)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
