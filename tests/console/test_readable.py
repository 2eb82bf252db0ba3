"""A terminal shows what a person can read of lines that pass, and says what it left out; a file takes every line."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from datetime import UTC, datetime

import pytest

from milepost_console.dev.live import Live
from milepost_console.dev.readable import READABLE, Readable
from milepost_console.dev.terminal import Lines
from milepost_console.printer import Printer, Styled
from milepost_engine.adapters.clock import WoundClock

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LATE = "more lines, too fast to read"


class Terminal(io.StringIO):
    """A file that says it is a terminal, and counts the writes."""

    writes = 0
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        self.writes += 1
        return super().write(text)


async def test_the_first_lines_of_a_second_are_shown_and_the_others_summed_up_when_it_is_over():
    clock, reports = WoundClock(START), list[str]()
    readable = Readable(clock, reports.append)
    shown = [readable.shows("steps") for _ in range(READABLE + 1200)]
    shown += [readable.shows("runs started") for _ in range(300)]
    assert shown == [True] * READABLE + [False] * 1500
    assert reports == []
    await clock.advance(1)
    assert reports == ["1,500 more lines, too fast to read: 1,200 steps, 300 runs started. The dashboard shows all."]
    assert readable.shows("steps")
    await clock.advance(5)
    assert len(reports) == 1


async def test_problems_are_shown_beside_a_crowd_of_successes():
    readable = Readable(WoundClock(START), lambda _: None)
    assert not all(readable.shows("steps") for _ in range(READABLE + 1))
    assert all(readable.shows("failed attempts", problem=True) for _ in range(READABLE))
    assert not readable.shows("failed attempts", problem=True)


async def test_what_was_left_out_is_said_when_the_server_stops():
    reports: list[str] = []
    readable = Readable(WoundClock(START), reports.append)
    while readable.shows("steps"):
        pass
    [task] = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert reports == ["1 more line, too fast to read: 1 steps. The dashboard shows all."]


async def test_lines_of_another_thread_are_counted_too():
    clock, reports = WoundClock(START), list[str]()
    readable = Readable(clock, reports.append)
    thread = threading.Thread(target=lambda: [readable.shows("log lines") for _ in range(READABLE + 5)])
    thread.start()
    thread.join()
    await clock.advance(1)
    assert readable.shows("log lines")
    assert reports == ["5 more lines, too fast to read: 5 log lines. The dashboard shows all."]


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
async def test_only_a_terminal_gets_a_selection(kind: type[io.StringIO]):
    out, clock = kind(), WoundClock(START)
    lines = Lines(Printer(out), clock)
    for number in range(500):
        lines.logged("INFO", "shop", f"line {number}", {})
    await clock.advance(1)
    left_out = 0 if kind is io.StringIO else 500 - READABLE
    assert out.getvalue().count("line ") == 500 - left_out
    assert (LATE in out.getvalue()) is bool(left_out)


async def test_what_one_turn_of_the_loop_prints_is_written_at_once():
    out = Terminal()
    printer = Printer(out)
    with printer.gathering(asyncio.get_running_loop()):
        for number in range(100):
            printer.line(f"line {number}")
        assert out.writes == 0
        await asyncio.sleep(0)
        assert out.writes == 1
        printer.line("last")
    assert out.getvalue().splitlines() == [*(f"line {number}" for number in range(100)), "last"]


def test_colours_are_for_terminals_and_for_those_who_want_them(monkeypatch: pytest.MonkeyPatch):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")

    def printed(out: io.StringIO) -> str:
        Printer(out).line(Styled("done", "bold green"), " now")
        return out.getvalue()

    assert printed(io.StringIO()) == "done now\n"
    assert printed(Terminal()) == "\x1b[1;32mdone\x1b[0m now\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert printed(io.StringIO()) == "\x1b[1;32mdone\x1b[0m now\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert printed(Terminal()) == "done now\n"


def test_what_an_encoding_does_not_have_is_escaped():
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="latin-1")
    Printer(out).line("Größe 注文")
    assert raw.getvalue() == b"Gr\xf6\xdfe \\u6ce8\\u6587\n"


def test_printing_to_a_reader_that_has_gone_ends_the_command():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out, pytest.raises(SystemExit) as ended:
        Printer(out).line("nobody reads this")
    assert ended.value.code == 1


def test_rows_are_made_only_when_somebody_listens():
    class Unreadable:
        """Raises when a row is made of it."""

    live = Live()
    live.run_started(Unreadable())  # type: ignore[arg-type]
    with live.listening(), pytest.raises(AttributeError):
        live.run_started(Unreadable())  # type: ignore[arg-type]
