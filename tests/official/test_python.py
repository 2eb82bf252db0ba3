"""An app written with the official Python SDK runs unchanged: the wire protocol is really kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from milepost_engine.adapters.clock import WoundClock
from tests.console.process import DevProcess, free_port
from tests.console.served import Served, served, until


@contextmanager
def running(server: str, port: int) -> Iterator[None]:
    """The official app in a process of its own."""
    environment = {**os.environ, "SERVER": server, "PORT": str(port), "INNGEST_DEV": server}
    app = subprocess.Popen([sys.executable, str(Path(__file__).with_name("app.py"))], env=environment)
    try:
        yield
    finally:
        app.kill()
        app.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevProcess]:
    port = free_port()
    made = DevProcess(tmp_path, "-u", f"http://127.0.0.1:{port}/api/inngest")
    with running(made.url, port):
        try:
            made.start()
            until(lambda: len(made.call("/api/functions")["functions"]) == 8, seconds=30, details=made.log)
            yield made
        finally:
            made.stop()


@dataclass(frozen=True)
class Wound:
    """A dev server whose clock stands still until it is wound, and the app at it."""

    served: Served
    clock: WoundClock

    def only_run(self, function: str) -> dict[str, Any]:
        until(lambda: self.served.runs(function=function))
        [row] = self.served.runs(function=function)
        return self.served.get(f"/api/runs/{row['run_id']}")

    def step(self, function: str, name: str) -> dict[str, Any]:
        """A step of the run, or nothing yet."""
        return next((span for span in self.only_run(function)["trace"] if span["name"] == name), {})

    def wind_to_next_try(self, function: str, step: str, tried: int) -> None:
        """Once the step was tried so often. No further, so that a test sees each try before the next one."""
        retrying = lambda: (s := self.step(function, step)) and s["next_try_at"] and len(s["attempts"]) == tried  # noqa: E731
        until(retrying, details=lambda: str(self.only_run(function)))
        shown = datetime.fromisoformat(self.step(function, step)["next_try_at"])
        self.served.do(self.clock.advance_to(shown + timedelta(milliseconds=1)))

    def ended(self, function: str) -> dict[str, Any]:
        until(lambda: self.only_run(function)["ended_at"], details=lambda: str(self.only_run(function)))
        return self.only_run(function)


@pytest.fixture(scope="module")
def wound() -> Iterator[Wound]:
    clock, port = WoundClock(), free_port()
    with served(clock=clock) as made, running(made.url, port):
        address = {"url": f"http://127.0.0.1:{port}/api/inngest"}
        until(lambda: made.ask("POST", "/api/apps", address).is_success, seconds=30)
        yield Wound(made, clock)


def ended(server: DevProcess, function: str) -> dict[str, Any]:
    until(lambda: server.only_run(function=function)["ended_at"], seconds=20, details=server.log)
    return server.only_run(function=function)


def test_an_official_app_steps_retries_sleeps_invokes_waits_sends_and_fails_as_it_should(server: DevProcess):
    server.send("py/order", {"id": "7", "cents": 42})
    server.send("py/fail")
    story = "official-py-story"
    waits = lambda: any(span["status"] == "Waiting" for span in server.only_run(function=story)["trace"])  # noqa: E731
    until(waits, seconds=30, details=lambda: server.log() + str(server.only_run(function=story)["trace"]))
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
    assert ended(server, "official-py-sent")["output"] == 42

    # A non-retriable error in a step ends the run at once, and the failure handler hears of it.
    failed = ended(server, "official-py-failing")
    assert (failed["status"], failed["error"]["message"]) == ("Failed", "no way")
    assert sum(len(span["attempts"]) for span in failed["trace"]) <= 1
    assert ended(server, "official-py-failing-failure")["output"] == "no way"


def test_a_plain_exception_in_a_step_is_tried_again_until_it_succeeds(wound: Wound):
    wound.served.send({"name": "py/patient"})
    for tried in (1, 2):
        wound.wind_to_next_try("official-py-patient", "shaky", tried)
    run = wound.ended("official-py-patient")
    assert (run["status"], run["output"]) == ("Completed", 3)
    [shaky] = run["trace"]
    assert [tried["status"] for tried in shaky["attempts"]] == ["Failed", "Failed", "Completed"]
    assert [tried["error"]["message"] for tried in shaky["attempts"][:2]] == ["broken 1", "broken 2"]


def test_a_wait_for_an_event_that_does_not_come_gives_none_when_its_time_is_up(wound: Wound):
    wound.served.send({"name": "py/wait"})
    until(lambda: wound.step("official-py-waiting", "never"))
    wound.served.do(wound.clock.advance(timedelta(minutes=59).total_seconds()))
    assert wound.step("official-py-waiting", "never")["status"] == "Waiting"
    wound.served.do(wound.clock.advance(timedelta(minutes=1).total_seconds()))
    run = wound.ended("official-py-waiting")
    assert (run["status"], run["output"]) == ("Completed", "nobody")


def test_a_function_catches_the_error_of_a_step_that_failed_for_good_and_goes_on(wound: Wound):
    wound.served.send({"name": "py/forgive"})
    wound.wind_to_next_try("official-py-forgiving", "break", 1)
    run = wound.ended("official-py-forgiving")
    assert (run["status"], run["output"]) == ("Completed", ["KeyError", "'lost'"])
    tries = {span["name"]: [tried["status"] for tried in span["attempts"]] for span in run["trace"]}
    assert tries == {"break": ["Failed", "Failed"], "mend": ["Completed"]}
