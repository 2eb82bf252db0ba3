"""User code in a process of its own: what it is called for, saves and logs, and what becomes of it when either ends."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from milepost.errors import CheckpointRefused
from milepost.protocol import Request, Response
from milepost_console.code.host import KIND, CodeHost
from milepost_console.code.loader import CodeProblem, parse_location
from milepost_console.dev.log_origin import origin_of
from milepost_engine.codec import dumps, loads
from milepost_engine.ports import InvocationProblem, ProblemKind, Target

from .process import DevProcess
from .served import until

CODE = """
import logging, os, time
from milepost import App, Context, Event, SyncContext

app = App("mine")
log = logging.getLogger("mine.deep")

@app.function(id="pid", trigger="go")
async def pid(ctx: Context) -> int:
    return os.getpid()

@app.function(id="two", trigger="go", mode="checkpoint")
async def two(ctx: Context) -> int:
    one = await ctx.step.run("one", lambda: 1)
    return await ctx.step.run("two", lambda: one + 1)

@app.function(id="logs", trigger="go")
async def logs(ctx: Context) -> None:
    def body():
        try:
            raise OSError("no route")
        except OSError:
            log.exception("to %s", "Rome", extra={"other": object()})
    await ctx.step.run("say", body)
    ctx.logger.info("%s", os.fsdecode(b"caf\\xe9.txt"))
    log.info("odd", extra={"attempt": object()})

@app.function(id="exits", trigger="go")
def exits(ctx: SyncContext) -> None:
    os._exit(int(ctx.event.data["status"]))

@app.function(id="forks", trigger="go")
def forks(ctx: SyncContext) -> None:
    if os.fork() == 0:
        with open(ctx.event.data["began"] + ".new", "w") as note:
            note.write(str(os.getpid()))
        os.rename(note.name, ctx.event.data["began"])
        time.sleep(600)
    os._exit(5)

@app.function(id="waits", trigger="go")
def waits(ctx: SyncContext) -> int:
    open(ctx.event.data["began"], "w").close()
    while not os.path.exists(ctx.event.data["until"]):
        time.sleep(0.01)
    return os.getpid()
"""
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere such code ends with its step")
MINE = Target(KIND, "mine", 30)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[CodeHost]:
    (tmp_path / "mine.py").write_text(CODE)
    made = CodeHost([parse_location("mine.py", tmp_path)], tmp_path, "http://127.0.0.1:1")
    made.serve(await made.load())
    yield made
    await made.close()


def call(function: str, **data: object) -> Request:
    event = {"name": "go", "data": data, "id": "e", "ts": 1}
    ctx = {
        "run_id": "01RUN", "fn_id": f"mine-{function}", "attempt": 0, "step_id": "step", "max_attempts": 5,
        "stack": {"stack": [], "current": 0}, "milepost": {"version": 1, "checkpoint": function == "two"},
    }  # fmt: skip
    body = {"ctx": ctx, "event": event, "events": [event], "steps": {}, "use_api": False, "version": -1}
    headers = {"x-run-id": "01RUN"}
    return Request("POST", {"fnId": f"mine-{function}", "stepId": "step"}, headers, dumps(body))


def result(answer: Response) -> Any:
    assert answer.status == 200, answer.body
    return loads(answer.body)


async def until_there(file: Path) -> None:
    async with asyncio.timeout(20):
        while not file.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Steps:
    """Takes steps, as long as it has no objection."""

    def __init__(self, objection: Exception | None = None) -> None:
        self.objection = objection
        self.names: list[str] = []
        self.asked: list[tuple[str, str, str]] = []

    def of(self, run_id: str, function_id: str, claim: str) -> Steps:
        self.asked.append((run_id, function_id, claim))
        return self

    async def save(self, ops: Sequence[Mapping[str, object]]) -> None:
        if self.objection:
            raise self.objection
        self.names += [str(op["displayName"]) for op in ops]


async def test_code_runs_in_another_process_and_unknown_apps_are_missing(host: CodeHost):
    assert host.serving
    assert result(await host.invoke(MINE, call("pid"))) == host.serving.pid != os.getpid()
    with pytest.raises(InvocationProblem, match="'other' is not loaded") as caught:
        await host.invoke(Target(KIND, "other"), call("pid"))
    assert caught.value.kind == ProblemKind.MISSING


def ops_of(answer: Response) -> Any:
    return loads(answer.body)


async def test_a_step_is_saved_before_the_next_one_begins(host: CodeHost):
    steps = Steps()
    host.checkpointer = steps.of
    answer = await host.invoke(MINE, call("two"))
    assert steps.names == ["one", "two"]
    assert steps.asked[0] == ("01RUN", "mine-two", "")
    assert [op["op"] for op in ops_of(answer)] == ["RunComplete"]


async def test_steps_that_cannot_be_saved_are_returned_and_a_stale_invocation_says_nothing(host: CodeHost):
    host.checkpointer = Steps(OSError("the disk is full")).of
    answer = await host.invoke(MINE, call("two"))
    assert [(op["op"], op.get("displayName")) for op in ops_of(answer)] == [("StepRun", "one")]
    host.checkpointer = Steps(CheckpointRefused(stale=True)).of
    assert loads((await host.invoke(MINE, call("two"))).body) == []


async def test_what_it_logs_is_logged_here_with_its_origin_and_traceback(
    host: CodeHost, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO):
        await host.invoke(MINE, call("logs"))
    record, odd = [record for record in caplog.records if record.name == "mine.deep"]
    assert odd.getMessage() == "odd"
    assert "caf\\udce9.txt" in [record.getMessage() for record in caplog.records]
    assert (record.getMessage(), record.levelname) == ("to Rome", "ERROR")
    assert record.exc_text is not None
    assert record.exc_text.endswith("OSError: no route")
    origin = origin_of(record)
    assert (origin["run_id"], origin["function_id"], origin["step"]) == ("01RUN", "mine-logs", "say")


@pytest.mark.parametrize(("status", "said"), [(3, "ended with exit status 3")])
async def test_code_that_ends_its_process_fails_its_own_call_and_is_served_again(
    host: CodeHost, status: int, said: str
):
    with pytest.raises(InvocationProblem, match=said) as caught:
        await host.invoke(MINE, call("exits", status=status))
    assert caught.value.kind == ProblemKind.CRASHED
    assert (host.take_loss(), host.take_loss()) == (said, "")
    # Calls wait for the code to come back.
    waiting = asyncio.create_task(host.invoke(MINE, call("pid")))
    host.serve(await host.load())
    assert host.serving
    assert result(await waiting) == host.serving.pid


async def test_the_end_of_the_process_is_seen_though_one_that_it_forked_lives_on(host: CodeHost, tmp_path: Path):
    began = tmp_path / "began"
    with pytest.raises(InvocationProblem, match="exit status 5"):
        await host.invoke(MINE, call("forks", began=str(began)))
    await until_there(began)
    left = int(began.read_text())
    assert is_alive(left)
    os.kill(left, 9)
    assert host.take_loss() == "ended with exit status 5"


async def test_after_a_change_the_old_process_ends_what_it_has_in_hand(host: CodeHost, tmp_path: Path):
    old = host.serving
    assert old
    gate, began = tmp_path / "gate", tmp_path / "began"
    under_way = asyncio.create_task(host.invoke(MINE, call("waits", until=str(gate), began=str(began))))
    await until_there(began)
    host.serve(await host.load())
    assert host.serving
    assert result(await host.invoke(MINE, call("pid"))) == host.serving.pid != old.pid
    assert is_alive(old.pid)
    gate.touch()
    assert result(await under_way) == old.pid
    assert await old.ended == "ended with exit status 0"
    assert host.take_loss() == ""


async def test_a_call_that_takes_too_long_times_out_and_its_late_answer_is_dropped(host: CodeHost, tmp_path: Path):
    gate, began = tmp_path / "gate", tmp_path / "began"
    with pytest.raises(InvocationProblem, match=r"within 0\.3 s; it may still be running") as caught:
        await host.invoke(Target(KIND, "mine", 0.3), call("waits", until=str(gate), began=str(began)))
    assert caught.value.kind == ProblemKind.TIMEOUT
    gate.touch()
    assert host.serving
    assert result(await host.invoke(MINE, call("pid"))) == host.serving.pid


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import absent.module", r"mine.py:1: ModuleNotFoundError: No module named 'absent'"),
        ("import os; os._exit(7)", r"mine.py: the process loading the code ended with exit status 7 before"),
        ("import os; os.kill(os.getpid(), 9)", r"the process loading the code was ended by SIGKILL before"),
        ("raise SystemExit('no key')", r"mine.py:1: SystemExit: no key"),
        ("from milepost import App\napp = App('a'); other = App('a')", r"two apps have the id 'a'"),
    ],
)
async def test_code_that_cannot_be_loaded_is_reported_and_the_previous_code_stays(
    host: CodeHost, tmp_path: Path, code: str, said: str
):
    (tmp_path / "mine.py").write_text(code)
    with pytest.raises(CodeProblem, match=said):
        await host.load()
    assert host.serving
    assert result(await host.invoke(MINE, call("pid"))) == host.serving.pid
    assert set(host.stamps) == {str(tmp_path / "mine.py")}


async def test_code_that_never_finishes_loading_is_loaded_again_once_it_is_fixed(host: CodeHost, tmp_path: Path):
    file, begun = tmp_path / "mine.py", tmp_path / "begun"
    file.write_text(f"from pathlib import Path\nPath({str(begun)!r}).touch()\nwhile True: pass\n")
    loading = asyncio.create_task(host.load())
    await until_there(begun)
    file.write_text(CODE.replace("os.getpid()", "'fixed'"))
    host.serve(await loading)
    assert result(await host.invoke(MINE, call("pid"))) == "fixed"
    assert len(host._processes) <= 2, "what was cut off is gone"


# --- with the whole dev server ----------------------------------------------------------------------------------------

STORY = """
import os, sys, time
from pathlib import Path
from milepost import App, Context, Retries, SyncContext

print("printed while loading")
app = App("story")
HERE = Path(__file__).parent

@app.function(id="deadly", trigger="deadly", retries=Retries(max_retries=3, first_delay="1s", jitter=0))
async def deadly(ctx: Context) -> str:
    def body():
        with open(HERE / "tries", "a") as tries:
            tries.write("x")
        if (HERE / "tries").stat().st_size < 2:
            os._exit(9)
        return "survived"
    await ctx.step.run("before", lambda: open(HERE / "before", "a").write("x"))
    return await ctx.step.run("dies", body)

@app.function(id="hangs", trigger="hangs")
def hangs(ctx: SyncContext) -> None:
    (HERE / "pid").write_text(str(os.getpid()))
    (HERE / "hangs").touch()
    while True:
        time.sleep(1)

@app.function(id="grips", trigger="grips")
def grips(ctx: SyncContext) -> None:
    import re
    (HERE / "pid").write_text(str(os.getpid()))
    (HERE / "hangs").touch()
    re.match(r"(a+)+$", "a" * 60 + "b")  # takes years and blocks all other threads

@app.function(id="prints", trigger="prints")
def prints(ctx: SyncContext) -> None:
    print("printed by a step")
    os.write(1, b"and past Python")
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevProcess]:
    (tmp_path / "story.py").write_text(STORY)
    made = DevProcess(tmp_path, str(tmp_path / "story.py"), "--no-poll", "--no-reload")
    made.start()
    yield made
    made.stop()


def test_code_that_kills_its_process_costs_an_attempt_and_the_server_continues(server: DevProcess):
    assert "printed while loading" in server.log()
    server.send("deadly")
    until(lambda: server.runs(status="Completed"), details=server.log)
    run = server.only_run()
    assert run["output"] == "survived"
    # Nothing is known yet of the step that it was in: the try is the function's.
    [span] = [span for span in run["trace"] if span["kind"] == "function"]
    [attempt, last] = span["attempts"]
    assert last["status"] == "Completed"
    assert attempt["error"]["name"] == "AppCrashed"
    assert "the process that runs your code ended with exit status 9" in attempt["error"]["message"]
    assert "the process with your code ended with exit status 9; restarting it" in server.log()
    assert (server.folder / "before").read_text() == "x"


@pytest.mark.parametrize("how", ["kill", "stop"])
@pytest.mark.parametrize("name", ["hangs", pytest.param("grips", marks=LINUX)])
def test_code_never_outlives_its_server(server: DevProcess, how: str, name: str):
    server.send(name)
    until((server.folder / "hangs").exists, details=server.log)
    pid = int((server.folder / "pid").read_text())
    assert is_alive(pid)
    getattr(server, how)()
    until(lambda: not is_alive(pid), seconds=10)


def test_events_that_are_sent_while_the_code_is_loaded_start_its_functions(tmp_path: Path):
    (tmp_path / "early.py").write_text(
        "from milepost import App, Context\n"
        "app = App('early')\n"
        "@app.function(id='f', trigger='go')\n"
        "async def f(ctx: Context) -> str:\n"
        "    return ctx.event.data['when']\n"
        "app.send_sync({'name': 'go', 'id': 'once', 'data': {'when': 'while loading'}})\n"
    )
    made = DevProcess(tmp_path, str(tmp_path / "early.py"), "--no-poll")
    try:
        made.start()
        until(lambda: made.runs(status="Completed"), details=made.log)
        assert made.only_run()["output"] == "while loading"
    finally:
        made.stop()


def test_a_server_whose_code_cannot_be_loaded_says_so_and_ends(tmp_path: Path):
    (tmp_path / "bad.py").write_text("import nowhere\n")
    made = DevProcess(tmp_path, str(tmp_path / "bad.py"), "--no-poll")
    made.spawn()
    assert made.process
    assert made.process.wait(30) == 1
    assert "bad.py:1: ModuleNotFoundError: No module named 'nowhere'" in made.log()


def test_with_json_lines_what_code_prints_goes_to_standard_error(tmp_path: Path):
    (tmp_path / "story.py").write_text(STORY)
    made = DevProcess(tmp_path, str(tmp_path / "story.py"), "--no-poll", "--json")
    made.split = True
    try:
        made.start()
        made.send("prints")
        until(lambda: made.runs(status="Completed"), details=made.log)
    finally:
        made.stop()
    lines = (tmp_path / "server.log").read_text().splitlines()
    assert "run ended" in [json.loads(line)["what"] for line in lines]
    errors = (tmp_path / "server.err").read_text()
    assert "printed by a step" in errors
    assert "and past Python" in errors


@pytest.mark.parametrize(("name", "better"), [("24_x", "app_24_x"), ("order-mail", "order_mail")])
def test_a_file_whose_name_is_no_module_name_is_refused_with_one_that_is(tmp_path: Path, name: str, better: str):
    (tmp_path / f"{name}.py").write_text("app = None\n")
    with pytest.raises(CodeProblem, match=f"'{name}' is not a module name: rename it to, for example, '{better}'"):
        parse_location(f"{name}.py", tmp_path)
