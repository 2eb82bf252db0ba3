"""What user code logs is shown under its run, step and attempt; kept in memory within stated limits."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from milepost import App, Context, Event, Retries, SyncContext
from milepost_console.dev.run_log import MAX_CHARS, LoggedLine, RunLogHandler, RunLogMemory
from milepost_console.server import models
from milepost_engine.ports import Target

from .served import Served, served, until

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
deep = logging.getLogger("deep.inside")


def line(text: str) -> LoggedLine:
    return LoggedLine(0, NOW, "INFO", "test", text)


def texts(memory: RunLogMemory, run_id: str) -> list[str]:
    return [each.text for each in memory.read(run_id).lines]


def test_a_run_keeps_its_latest_lines_and_says_how_many_were_dropped():
    memory = RunLogMemory(NOW, of_a_run=3)
    for number in range(5):
        memory.write("a", line(str(number)))
    found = memory.read("a")
    assert [(each.number, each.text) for each in found.lines] == [(2, "2"), (3, "3"), (4, "4")]
    assert (found.kept, found.cut, found.since) == ("memory", 2, NOW)


def test_the_run_that_logged_longest_ago_is_forgotten_first_and_still_says_how_many_lines_it_had():
    memory = RunLogMemory(NOW, of_all=4)
    for run_id in "aabab":
        memory.write(run_id, line(run_id))
    assert (texts(memory, "a"), texts(memory, "b")) == ([], ["b", "b"])
    assert (memory.read("a").cut, memory.read("b").cut, memory.read("never").cut) == (3, 0, 0)
    memory.write("a", line("again"))
    assert ([each.number for each in memory.read("a").lines], memory.read("a").cut) == ([3], 3)


def test_long_lines_make_room_sooner():
    memory = RunLogMemory(NOW, chars_of_all=25)
    for run_id in "aab":
        memory.write(run_id, line("x" * 10))
    assert (texts(memory, "a"), texts(memory, "b")) == ([], ["x" * 10])
    memory.write("b", line("y" * 10))
    assert len(texts(memory, "b")) == 2


def test_a_line_is_cut_where_it_would_fill_the_memory_alone():
    memory = RunLogMemory(NOW)
    memory.write("a", line("x" * (MAX_CHARS + 5)))
    [text] = texts(memory, "a")
    assert text == "x" * MAX_CHARS + f"… ({MAX_CHARS + 5} characters)"


def test_new_lines_are_announced_only_for_runs_that_were_read():
    memory, changed_runs = RunLogMemory(NOW), list[str]()
    memory.changed = changed_runs.append
    memory.write("a", line("one"))
    memory.read("a")
    memory.write("a", line("two"))
    memory.write("b", line("one"))
    assert changed_runs == ["a"]


def test_what_code_outside_of_runs_logs_is_kept_nowhere():
    memory = RunLogMemory(NOW)
    record = logging.LogRecord("any", logging.INFO, __file__, 1, "hello", None, None)
    RunLogHandler(memory).emit(record)
    record.run_id = "a"
    RunLogHandler(memory).emit(record)
    assert texts(memory, "a") == ["hello"]


@pytest.fixture
def server() -> Iterator[Served]:
    app = App("talk", retries=Retries(max_retries=1, first_delay="1ms"))

    def charge(tries: list[int]) -> str:
        deep.warning("charging, try %d", len(tries))
        tries.append(1)
        if len(tries) == 1:
            try:
                raise OSError("no route")
            except OSError:
                deep.exception("it went wrong")
                raise
        return "paid"

    @app.function(id="order", trigger=Event("order"))
    async def order(ctx: Context[Any]) -> None:
        ctx.logger.warning("begins")
        await ctx.step.run("charge", charge, [1])
        ctx.logger.warning("ends")

    tries: list[int] = []

    @app.function(id="sync", trigger=Event("sync"))
    def sync(ctx: SyncContext[Any]) -> None:
        ctx.step.run("charge", charge, tries)
        ctx.logger.warning("ends")

    with served(app) as made:
        yield made


def logs(server: Served, run_id: str, more: str = "") -> dict[str, Any]:
    return server.get(f"/api/runs/{run_id}/logs{more}")


def test_each_line_stands_under_the_step_and_the_attempt_whose_code_wrote_it(server: Served):
    server.send({"name": "sync"})
    [run] = server.ended(1, function="talk-sync")
    answer = logs(server, run["run_id"])
    models.RunLogLines.model_validate(answer)
    assert answer["kept"] == "memory"
    found = [(each["text"].splitlines()[0], each["level"], each["step"], each["attempt"]) for each in answer["lines"]]
    assert found == [
        ("charging, try 0", "WARNING", "charge", 0),
        ("it went wrong", "ERROR", "charge", 0),
        ("charging, try 1", "WARNING", "charge", 1),
        ("ends", "WARNING", None, 1),
    ]
    [span] = [span for span in server.get(f"/api/runs/{run['run_id']}")["trace"] if span["name"] == "charge"]
    assert {each["step_id"] for each in answer["lines"] if each["step"]} == {span["step_id"]}
    assert "OSError: no route" in answer["lines"][1]["text"]
    assert answer["lines"][0]["source"] == "deep.inside"


def test_only_new_lines_are_requested_and_readers_are_notified_of_them(server: Served):
    with server.backend.live.listening() as listener:
        server.send({"name": "order"})
        [run] = server.ended(1, function="talk-order")
        before = logs(server, run["run_id"])["lines"]
        assert [each["text"] for each in before if each["step"] is None] == ["begins", "ends"]
        assert logs(server, run["run_id"], f"?after={before[-1]['number']}")["lines"] == []
        record = logging.LogRecord("late", logging.WARNING, __file__, 1, "late", None, None)
        record.run_id = run["run_id"]
        logging.getLogger().handle(record)
        until(lambda: any(item.kind == "log" and item.row == {"run_id": run["run_id"]} for item in listener.updates))
        [late] = logs(server, run["run_id"], f"?after={before[-1]['number']}")["lines"]
        assert late["text"] == "late"


def test_an_app_at_an_address_logs_where_it_runs_and_the_answer_says_so(server: Served):
    server.send({"name": "order"})
    [run] = server.ended(1)
    app = server.code.apps["talk"]
    server.do(
        server.backend.engine.registry.sync(app.manifest("http://127.0.0.1:9/"), Target("http", "http://127.0.0.1:9/"))
    )
    answer = logs(server, run["run_id"])
    assert (answer["kept"], answer["lines"]) == ("elsewhere", [])


def test_the_log_of_an_unknown_run_is_refused_with_what_to_do(server: Served):
    answer = server.ask("GET", "/api/runs/01NOSUCHRUN/logs")
    assert (answer.status_code, answer.json()["code"]) == (404, "MP301")
