"""An app written with the official Python SDK runs unchanged: the wire protocol is really kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.console.process import DevProcess, free_port
from tests.console.served import until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevProcess]:
    port = free_port()
    made = DevProcess(tmp_path, "-u", f"http://127.0.0.1:{port}/api/inngest")
    environment = {**os.environ, "SERVER": made.url, "PORT": str(port), "INNGEST_DEV": made.url}
    app = subprocess.Popen([sys.executable, str(Path(__file__).with_name("app.py"))], env=environment)
    try:
        made.start()
        until(lambda: len(made.call("/api/functions")["functions"]) == 5, seconds=30, told=made.log)
        yield made
    finally:
        app.kill()
        app.wait()
        made.stop()


def ended(server: DevProcess, function: str) -> dict[str, Any]:
    until(lambda: server.only_run(function=function)["ended_at"], seconds=20, told=server.log)
    return server.only_run(function=function)


def test_an_official_app_steps_retries_sleeps_invokes_waits_sends_and_fails_as_it_should(server: DevProcess):
    server.send("py/order", {"id": "7", "cents": 42})
    server.send("py/fail")
    story = "official-py-story"
    waits = lambda: any(span["status"] == "Waiting" for span in server.only_run(function=story)["trace"])  # noqa: E731
    until(waits, seconds=30, told=lambda: server.log() + str(server.only_run(function=story)["trace"]))
    server.send("py/answer", {"id": "8", "word": "other"})
    server.send("py/answer", {"id": "7", "word": "yes"})

    run = ended(server, story)
    assert run["status"] == "Completed", run
    assert run["output"] == {"paid": 42, "sides": ["l", "r"], "tries": 2, "child": 42, "answer": "yes"}
    # This SDK reports a retry-after as an error of the whole call; the step has its result from the next one.
    tries = {span["name"]: [tried["status"] for tried in span["attempts"]] for span in run["trace"]}
    assert (tries["(function)"], tries["flaky"], tries["pay"]) == (
        ["Failed", "Completed"],
        ["Completed"],
        ["Completed"],
    )
    assert ended(server, "official-py-told")["output"] == 42

    # A non-retriable error in a step ends the run at once, and the failure handler hears of it.
    failed = ended(server, "official-py-hopeless")
    assert (failed["status"], failed["error"]["message"]) == ("Failed", "no way")
    assert sum(len(span["attempts"]) for span in failed["trace"]) <= 1
    assert ended(server, "official-py-hopeless-failure")["output"] == "no way"
