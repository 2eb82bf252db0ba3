"""Changing the code while the dev server runs: live runs continue with it, and a broken change stops nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .process import DevProcess
from .served import until

CODE = """
from milepost import App, Context
from parts import word

app = App("story")

@app.function(id="f", trigger="go")
async def f(ctx: Context) -> list[str]:
    first = await ctx.step.run("first", lambda: word())
    await ctx.step.wait_for_event("signal", "signal", timeout="1h")
    return [first, await ctx.step.run("second", lambda: word())]
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevProcess]:
    (tmp_path / "story.py").write_text(CODE)
    (tmp_path / "parts.py").write_text('def word(): return "old"\n')
    made = DevProcess(tmp_path, str(tmp_path / "story.py"), "--no-poll")
    made.start()
    yield made
    made.stop()


def change(server: DevProcess, name: str, text: str, expected: str) -> None:
    before = server.log().count(expected)
    (server.folder / name).write_text(text)
    until(lambda: server.log().count(expected) > before, details=server.log)


def test_a_running_run_survives_a_reload_and_continues_with_the_new_code(server: DevProcess):
    server.send("go")
    until(lambda: [span["name"] for span in server.only_run()["trace"]] == ["first", "signal"], details=server.log)
    # Not the file that has the app, but one that it imports.
    change(server, "parts.py", 'def word(): return "new"\n', "code reloaded: 1 function;")
    server.send("signal")
    until(lambda: server.only_run()["status"] == "Completed", details=server.log)
    assert server.only_run()["output"] == ["old", "new"]


BROKEN = [
    ("story.py", "def (:\n", "story.py:1: SyntaxError"),
    ("parts.py", "from nowhere import x\n", "parts.py:1: ModuleNotFoundError: No module named 'nowhere'"),
    ("story.py", CODE.replace('App("story")', 'App("a b")'), "BadIdError"),
    ("story.py", CODE.replace('trigger="go"', 'trigger="go", idempotency="event.("'), "[MP201]"),
    ("story.py", "x = 1\n", "has no app"),
]


def test_a_broken_change_is_reported_with_its_line_and_the_old_code_stays(server: DevProcess):
    server.send("go")
    until(lambda: [span["name"] for span in server.only_run()["trace"]] == ["first", "signal"], details=server.log)
    for name, broken, said in BROKEN:
        good = (server.folder / name).read_text()
        change(server, name, broken, "the changed code could not be loaded; the previous code stays")
        assert said in server.log()
        # The old code still starts runs …
        assert [row["function_id"] for row in server.call("/api/functions")["functions"]] == ["story-f"]
        change(server, name, good + "\n", "code reloaded: 1 function;")
    change(server, "parts.py", "def (:\n", "could not be loaded")
    change(server, "parts.py", "def (:\n# saved again, as broken as before\n", "could not be loaded")
    # … and ends those under way.
    server.send("signal")
    until(lambda: server.only_run()["status"] == "Completed", details=server.log)
    assert server.only_run()["output"] == ["old", "old"]


def test_a_function_that_is_taken_out_is_started_no_more_and_a_new_one_is(server: DevProcess):
    change(server, "story.py", CODE.replace('id="f"', 'id="g"'), "code reloaded")
    server.send("go")
    assert server.only_run()["function_id"] == "story-g"
    assert [row["function_id"] for row in server.call("/api/functions")["functions"]] == ["story-g"]
