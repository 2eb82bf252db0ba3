"""Names, errors and log lines from outside cannot act on a terminal, forge a line of output or hide what they are."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from milepost.testing import AwsHarness, Harness
from milepost_console.cli.main import main
from milepost_console.dev.banner import welcome
from milepost_console.dev.terminal import JsonLines, Lines
from milepost_console.printer import Printer, Styled
from milepost_console.visible import visible
from milepost_engine.adapters.clock import WoundClock
from milepost_engine.core.run import Record
from milepost_engine.observe import Observer

from . import hostile
from .command import Command
from .process import free_port
from .served import Served, served

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
NAME, ID, DATA = "sent" + hostile.HOSTILE[:400], "id" + hostile.HOSTILE[:400], {"x": hostile.HOSTILE}
SENT = {"name": NAME, "id": ID, "data": DATA}
STYLE = re.compile("\x1b\\[[0-9;]*m")
"""The colours of our own lines."""


def assert_harmless(out: str, *, where: str = "") -> None:
    """Nothing acts, nothing hides, and no line is one that somebody else wrote."""
    for line in out.split("\n"):
        assert line == visible(line), (where, line)
        assert not line.startswith("12:00:00.000"), (where, line)


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served(hostile.app) as made:
        made.send(SENT)
        made.send({"name": "hostile", "data": {"x": hostile.HOSTILE}})
        [row] = made.ended(1)
        assert row["status"] == "Failed"
        yield made


@pytest.fixture
def command(server: Served, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(server.url, capsys)


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_no_command_prints_it_raw(server: Served, command: Command, *, as_json: bool):
    [run] = server.runs()
    events = server.get("/api/events?limit=50")["events"]
    commands = [
        ("runs", "list"), ("runs", "show", run["run_id"]), ("functions", "list"), ("apps", "list"), ("events", "list"),
        *(("events", "show", event["event_id"]) for event in events), ("logs", run["run_id"]), ("dead-letters", "list"),
        ("runs", "cancel", run["run_id"]), ("doctor",), ("functions", "pause", hostile.HOSTILE[:300]),
    ]  # fmt: skip
    if not as_json:
        commands += [("runs", "show", run["run_id"], "--full")]
    for words in commands:
        result = command(*words, *(["--json"] if as_json else []))
        assert_harmless(result.out, where=str(words))
        assert_harmless(result.err, where=str(words))
        assert result.out or result.err, words
    shown = command("events", "list").out
    assert r"\x1b[2J" in shown
    assert r"\u202egnp.exe" in shown


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["runs", "list", "--bad\u202e\x1b[2J"], "\\u202e"),
        (["no\u202ecommand"], "\\u202e"),
        (["runs", "list", "--limit", "\u202e1"], "--limit"),
        (["runs", "list", "--status", "\udcff"], "is not valid UTF-8"),
    ],
    ids=["option", "command", "value", "bytes"],
)
def test_a_wrong_usage_is_not_printed_raw(
    words: list[str], shown: str, capsys: pytest.CaptureFixture[str], *, as_json: bool
):
    with pytest.raises(SystemExit) as ended:
        main([*words, *(["--json"] if as_json else [])])
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert_harmless(err)
    assert shown in err


async def printed(printing: Observer, *, kind: type[Harness] = Harness) -> None:
    """Have an observer print a run of the hostile app."""
    async with kind(hostile.app) as h:
        await h.send(NAME, DATA, id=ID)
        await h.send("hostile", {"x": hostile.HOSTILE})
        await h.advance("1s")
        run = await h.engine.runs.load((await h.only_run())["run_id"])
        assert run is not None
        for event_id in run.event_ids:
            event = await h.engine.events.load(event_id)
            assert event is not None
            printing.event_received(event, (), {hostile.HOSTILE: hostile.HOSTILE})
        printing.run_started(run)
        assert run.ended is not None
        records: list[Record] = [*run.closed.values(), *run.plans, run.ended]
        for record in records:
            printing.recorded(run, record)
        printing.rescued(run)


@pytest.mark.parametrize("printing", [Lines, JsonLines])
async def test_no_line_of_the_dev_server_is_raw(printing: type[Lines | JsonLines]):
    out = io.StringIO()
    lines = printing(Printer(out, width=200), WoundClock(START), show_payloads=True)
    await printed(lines)
    lines.say(hostile.HOSTILE, "red")
    lines.logged("WARNING", hostile.HOSTILE, hostile.HOSTILE, {})
    lines.logged("INFO", "x", hostile.HOSTILE, {"run_id": "R" * 26, "function_id": "f", "step": hostile.HOSTILE})
    assert_harmless(out.getvalue())
    assert r"\x1b" in out.getvalue() or r"\u001b" in out.getvalue()


def test_the_line_breaks_of_a_log_line_are_kept_and_indented():
    out = io.StringIO()
    Lines(Printer(out, width=200), WoundClock(START)).logged("ERROR", "shop", "one\ntwo\n  three", {})
    first, *others = out.getvalue().splitlines()
    assert first.endswith("error   shop  one")
    assert others == [" " * 14 + "two", " " * 14 + "  three"]


async def test_the_banner_is_not_raw_and_its_command_is_quoted_for_the_shell(server: Served):
    from milepost import App, Event  # noqa: PLC0415

    app = App("quoted")
    app.function(id="f", trigger=Event("go; rm -rf ~" + hostile.HOSTILE[:100]))(lambda _: None)
    with served(app) as made:
        out = io.StringIO()
        made.do(welcome(Printer(out, width=500), made.backend, made.url, ":memory:", requested=8288))
    assert_harmless(out.getvalue())
    assert "milepost send 'go; rm -rf ~" in out.getvalue()


@pytest.mark.parametrize("kind", [Harness, AwsHarness])
async def test_what_a_harness_fails_a_test_with_is_not_raw(kind: type[Harness]):
    async with AsyncExitStack() as stack:
        h = await stack.enter_async_context(kind(hostile.app))
        h.replace_step("typo" + hostile.HOSTILE)
        await h.send("hostile")
        with pytest.raises(AssertionError) as failed:
            await stack.aclose()
    assert_harmless(str(failed.value))
    async with Harness(hostile.app) as h:
        await h.engine.sender.send_texts(['{"t":"events","events":[{"name":"\\u001b[2J\\n12:00:00.000 x"}]}'])
        with pytest.raises(AssertionError) as failed:
            await h.until_idle()
    assert_harmless(str(failed.value))
    assert r"the events \x1b[2J\n12:00:00.000 x" in str(failed.value)


def test_a_part_is_padded_by_what_is_shown():
    out = io.StringIO()
    Printer(out, width=200).line(Styled("\x1b", width=8), "|", Styled("a\nb", many=True), indent=2)
    assert out.getvalue() == "\\x1b    |a\n  b\n"


def test_a_real_terminal_gets_no_sequence_from_outside():
    """`milepost dev` on a pseudo-terminal, with the colours that it has there."""
    port = free_port()
    master, slave = pty.openpty()
    command = [str(Path(sys.executable).parent / "milepost"), "dev", str(Path(hostile.__file__)), "--port", str(port),
               "--in-memory", "--no-poll", "--no-reload", "--show-payloads"]  # fmt: skip
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm-256color"}
    )
    try:
        out = read_until(master, b"Ctrl-C")
        for event in (SENT, {"name": "hostile", "data": {"x": hostile.HOSTILE}}):
            httpx.post(f"http://127.0.0.1:{port}/e/k", json=event, trust_env=False).raise_for_status()
        out += read_until(master, b"Failed")
    finally:
        process.terminate()
        process.wait(20)
        os.close(slave)
        os.close(master)
    assert b"\x1b[38;5;201m" not in out
    text = STYLE.sub("", out.decode()).replace("\r\n", "\n")
    assert r"\x1b[38;5;201m\x1b]0;TITLE\x07" in text
    assert_harmless(text)


def read_until(terminal: int, wanted: bytes) -> bytes:
    """What is printed, up to the first `wanted`."""
    out, end = b"", time.monotonic() + 60
    while wanted not in out:
        assert time.monotonic() < end, out[-2000:]
        if select.select([terminal], [], [], 0.2)[0]:
            out += os.read(terminal, 65536)
    return out
