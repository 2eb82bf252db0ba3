"""An app written with the official JavaScript SDK runs unchanged: another language, another code base, one protocol.

It saves steps on its way through the checkpoint API, unasked, and plans parallel ones in the same invocation.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.process import ROOT, DevProcess, free_port
from tests.console.served import until

PACKAGE = "inngest@4.24.0"
CACHE = ROOT / ".cache" / "official-js"


@pytest.fixture(scope="module")
def modules() -> Path:
    """The folder with the SDK, fetched once from npm."""
    if not (CACHE / "done").exists():
        npm = shutil.which("npm")
        assert npm, "npm is not on the path: install Node 20 or newer"
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--silent", "--no-save", "--ignore-scripts", "--prefix", str(CACHE), PACKAGE]
        subprocess.run(command, check=True, cwd=CACHE)
        (CACHE / "done").touch()
    return CACHE


@pytest.fixture
def server(modules: Path, tmp_path: Path) -> Iterator[DevProcess]:
    port = free_port()
    made = DevProcess(tmp_path, "-u", f"http://127.0.0.1:{port}/api/inngest")
    # Modules are found from where the file lies.
    shutil.copy(Path(__file__).with_name("app.mjs"), modules / "app.mjs")
    environment = {**os.environ, "INNGEST_BASE_URL": made.url, "INNGEST_DEV": made.url}
    app = subprocess.Popen(["node", str(modules / "app.mjs"), str(port)], env=environment)
    try:
        made.start()
        until(lambda: "official-js" in json.dumps(made.call("/api/apps")), seconds=30, details=made.log)
        yield made
    finally:
        made.stop()
        app.kill()
        app.wait()


def run_of(server: DevProcess, function_id: str) -> dict:
    """The function's only run, or nothing yet."""
    found = [run for run in server.runs() if run["function_id"] == function_id]
    assert len(found) <= 1, found
    return server.call(f"/api/runs/{found[0]['run_id']}") if found else {}


def until_ended(server: DevProcess, function_id: str) -> dict:
    until(lambda: run_of(server, function_id).get("ended_at"), seconds=30, details=server.log)
    return run_of(server, function_id)


def waits(server: DevProcess) -> bool:
    return any(span["name"] == "answer" for span in run_of(server, "official-js-story").get("trace", ()))


def test_steps_retry_sleep_wait_invoke_and_send_work_as_with_the_servers_it_was_made_for(server: DevProcess):
    server.call("/e/test", {"name": "js/order", "data": {"id": "7", "cents": 42}})
    until(lambda: waits(server), seconds=30, details=server.log)
    server.call("/e/test", {"name": "js/answer", "data": {"id": "8", "word": "other"}})
    server.call("/e/test", {"name": "js/answer", "data": {"id": "7", "word": "yes"}})
    run = until_ended(server, "official-js-story")
    assert run["status"] == "Completed"
    assert run["output"] == {"paid": 42, "sides": ["l", "r"], "tried": 2, "answer": "yes", "child": 42}
    flaky = next(span for span in run["trace"] if span["name"] == "flaky")
    assert [attempt["status"] for attempt in flaky["attempts"]] == ["Failed", "Completed"]
    assert until_ended(server, "official-js-sent")["output"] == 42


def test_a_failure_for_good_ends_the_run_at_once_and_calls_its_failure_handler(server: DevProcess):
    server.call("/e/test", {"name": "js/fail", "data": {}})
    run = until_ended(server, "official-js-failing")
    assert (run["status"], run["error"]["message"]) == ("Failed", "no way")
    assert until_ended(server, "official-js-failing-failure")["output"] == "no way"
