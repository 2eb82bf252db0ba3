"""Both kinds of kill, and stopped processes, under a load that hears of everything twice.

`kill -9` of the dev server and of the process with the user's code, SIGSTOP and SIGCONT of either, at random moments,
while waits get second events, timeouts pass during later steps, and runs are cancelled. The verdict comes from the
ledger that the bodies write (see `verdict.py`).

The load follows the kills: new events are sent only while few runs are open. Each kill waits for progress in the
ledger first, so a slow machine needs longer and has no more to do. `--thorough` kills more than 500 times;
MIXED_KILLS sets another number.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from .forked import Forked
from .served import until
from .verdict import Verdict, judge, kinds_of_kills, read_ledger

STORIES = ("news", "late", "invoke", "race", "join", "retry", "stopped")
MODES = ("", "-saved")
RUNS_PER_EVENT = len(STORIES) * len(MODES)
ATTEMPTS = 21
"""How often a step of the load is tried: the most that a function may ask for."""
OPEN_EVENTS = 8
"""How many events' runs may be open at a time."""
PROGRESS = 12
"""A kill comes after at most so many new lines in the ledger."""
START_SECONDS = 300
"""A start needs about a second of CPU: beside processes with a better priority that takes more than a minute."""
STILL_SECONDS = 90
"""A run stands still when nothing has been written to the ledger, and none has ended, for so long."""


class Storm:
    """Sends the load and kills what serves it."""

    def __init__(self, server: Forked, seed: int) -> None:
        self.server = server
        self.ledger = server.folder / "ledger.txt"
        self.ledger.touch(mode=0o600)
        self.draw = random.Random(seed)
        self.events = 0
        self.most_open = OPEN_EVENTS * RUNS_PER_EVENT
        """New events are sent while fewer runs are open."""
        self.owed: list[list[dict[str, Any]]] = []
        """Requests with events that are still to be sent, in order."""

    # -- what happens to the processes

    def note(self, what: str, kind: str, pid: int) -> None:
        row = {"what": what, "kind": kind, "killed": pid, "at": time.monotonic(), "wall": time.time()}
        with self.ledger.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def code_pid(self) -> int:
        """The process with the code, once it has come up under this server; 0 while there is none."""
        path = Path(f"{self.ledger}.pid")
        text = path.read_text() if path.exists() else ""
        try:
            parent = Path(f"/proc/{text}/stat").read_text().rsplit(")", 1)[1].split()[1]
        except OSError:
            return 0
        return int(text) if text and int(parent) == self.server.pid else 0

    def progress(self, lines: int, seconds: float) -> None:
        """Wait for new lines in the ledger; with nothing left to run there are none, hence the limit in seconds."""
        size = self.ledger.stat().st_size
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._lines_after(size) < lines:
            self.send_something()
            time.sleep(0.01)

    def _lines_after(self, size: int) -> int:
        with self.ledger.open("rb") as file:
            file.seek(size)
            return file.read().count(b"\n")

    def kill_code(self) -> bool:
        pid = self.code_pid()
        if pid:
            self.note("kill", "code", pid)
            os.kill(pid, signal.SIGKILL)
        return bool(pid)

    def kill_server(self) -> None:
        self.note("kill", "server", self.server.pid)
        self.server.kill()

    def stop(self, kind: str) -> Callable[[], None]:
        """Stop a process; returns what lets it continue."""
        pid = self.server.pid if kind == "server" else self.code_pid()
        if not pid:
            return lambda: None
        self.note("stop", f"stopped {kind}", pid)
        os.kill(pid, signal.SIGSTOP)

        def go_on() -> None:
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGCONT)

        return go_on

    # -- the load

    def send_something(self) -> None:
        """One request at most, until it is accepted: the same events again if it is not known whether they were."""
        try:
            if not self.owed:
                if self._open_runs() >= self.most_open:
                    return
                self.next_event()
            self.server.call("/e/test", self.owed[0])
            del self.owed[0]
            if self.draw.random() < 0.1:
                self._cancel_by_hand()
        except (OSError, HTTPException, ValueError):
            pass

    def next_event(self) -> None:
        n = self.events
        self.events += 1
        first, second = ({"name": "paid", "id": f"{w}-{n}", "data": {"n": n, "which": w}} for w in ("first", "second"))
        self.owed.append([{"name": "go", "id": f"go-{n}", "data": {"n": n}}])
        self.owed += [[first, second]] if n % 2 else [[first], [second]]
        if n % 3 == 0:
            stop = [{"name": "stop", "id": f"stop-{n}", "data": {"n": n}}]
            self.owed.insert(self.draw.randint(1, len(self.owed)), stop)

    def _open_runs(self) -> int:
        return len(self.server.runs(status="Running")) + len(self.server.runs(status="Queued"))

    def _cancel_by_hand(self) -> None:
        able = [run for run in self.server.runs(status="Running") if run["function_id"].startswith("load-stopped")]
        if able:
            self.server.call(f"/api/runs/{self.draw.choice(able)['run_id']}/cancel", {})

    # -- the end

    def finish(self, expected: int = 0) -> list[dict[str, Any]]:
        """All runs, when all have ended; `expected`: how many runs events start, if not the storm's own."""
        expected = expected or self.events * RUNS_PER_EVENT
        while self.owed:
            self.send_something()
        rows: list[dict[str, Any]] = []
        seen = (-1, -1)
        since = time.monotonic()
        while True:
            rows = self._all_runs()
            ended = sum(bool(row["ended_at"]) for row in rows)
            if ended == len(rows) and len(_starts(rows)) >= expected:
                return rows
            if (ended, self.ledger.stat().st_size) != seen:
                seen, since = (ended, self.ledger.stat().st_size), time.monotonic()
            assert time.monotonic() < since + STILL_SECONDS, self._what_stands_still(rows, expected)
            time.sleep(0.1)

    def _all_runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        page: dict[str, Any] = {"next": ""}
        while True:
            page = self.server.call(f"/api/runs?limit=500&after={page['next']}")
            found.extend(page["runs"])
            if not page["next"]:
                return found

    def _what_stands_still(self, rows: list[dict[str, Any]], expected: int) -> str:
        stuck = [row for row in rows if not row["ended_at"]]
        names = Counter(f"{row['function_id']} {row['status']}" for row in stuck)
        lost = expected - len(_starts(rows))
        first = [self.server.run(row["run_id"]) for row in stuck[:2]]
        return f"stuck: {dict(names)}; runs that never began: {lost}; {first}; {self.server.log()}"


def _starts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["function_id"] != "load-child"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Forked]:
    load = Path(__file__).parent / "mixed_load.py"
    made = Forked(tmp_path, str(load), "--no-reload", "--no-poll")
    yield made
    made.close()


def test_no_mixture_of_kills_doubles_a_recorded_step_or_loses_a_run(server: Forked, *, thorough: bool):
    kills = int(os.environ.get("MIXED_KILLS", "520" if thorough else "16"))
    storm = Storm(server, kills)
    done = 0
    while done < kills:
        server.spawn()
        until(server.is_up, seconds=START_SECONDS, details=server.log)
        for _ in range(storm.draw.randint(0, 2)):
            storm.progress(storm.draw.randint(1, PROGRESS), 2)
            time.sleep(storm.draw.random() * 0.05)
            done += storm.kill_code()
        resume: Callable[[], None] = lambda: None  # noqa: E731 - nothing was stopped
        if storm.draw.random() < 0.4:
            storm.progress(storm.draw.randint(1, PROGRESS), 2)
            resume = storm.stop(storm.draw.choice(["server", "code"]))
            time.sleep(storm.draw.random())
            if storm.draw.random() < 0.7:
                resume()
        if storm.draw.random() < 0.2:
            # Long enough for the step that is longer than the timeouts, so that runs end between the kills, too.
            storm.progress(20 * PROGRESS, 5)
        storm.progress(storm.draw.choice([0, 1, PROGRESS // 2, PROGRESS]), 2)
        time.sleep(storm.draw.random() * 0.1)
        storm.kill_server()
        resume()
        done += 1
    server.spawn()
    until(server.is_up, seconds=START_SECONDS, details=server.log)
    rows = storm.finish()
    report(storm, rows, _judge(storm, rows))


def test_without_a_kill_each_body_runs_once_whatever_comes_twice(server: Forked):
    storm = Storm(server, 1)
    server.spawn()
    until(server.is_up, seconds=START_SECONDS, details=server.log)
    until(storm.code_pid, seconds=START_SECONDS, details=server.log)
    for _ in range(5):
        storm.next_event()
    rows = storm.finish()
    assert _judge(storm, rows).repeated == 5 * len(MODES), "only the step that fails once runs again"


def test_branches_that_a_kill_leaves_in_the_queue_are_joined_once(server: Forked):
    """The code is killed three times and then the server, with many parallel branches in the queue."""
    storm = Storm(server, 2)
    storm.most_open = 0
    server.spawn()
    until(server.is_up, seconds=START_SECONDS, details=server.log)
    until(storm.code_pid, seconds=START_SECONDS, details=server.log)
    server.call("/e/test", [{"name": "branches", "data": {"n": n}} for n in range(40)])
    for _ in range(3):
        storm.progress(40, 20)
        until(storm.kill_code, seconds=START_SECONDS, details=server.log)
    storm.progress(40, 20)
    storm.kill_server()
    server.spawn()
    until(server.is_up, seconds=START_SECONDS, details=server.log)
    rows = storm.finish(40 * len(MODES))
    verdict = _verdict(storm, rows)
    assert verdict.faults() == []
    assert Counter((row["function_id"], row["status"]) for row in rows) == {
        (f"load-join{mode}", "Completed"): 40 for mode in MODES
    }
    assert verdict.repeated, "the kills cut nothing off"


def _judge(storm: Storm, rows: list[dict[str, Any]]) -> Verdict:
    verdict = _verdict(storm, rows)
    assert verdict.faults() == []
    for row in rows:
        assert row["status"] == "Completed" or _may_end_so(storm, row), storm.server.run(row["run_id"])
    started = Counter(row["function_id"] for row in _starts(rows))
    assert started == {f"load-{story}{mode}": storm.events for story in STORIES for mode in MODES}
    assert storm.server.call("/api/dead-letters")["dead_letters"] == []
    return verdict


def _may_end_so(storm: Storm, row: dict[str, Any]) -> bool:
    """Whether a run may have been cancelled; or have failed, because each of its attempts was cut off by a kill."""
    if row["status"] == "Cancelled":
        return row["function_id"].startswith(("load-stopped", "load-child"))
    crashes = kinds_of_kills(read_ledger(storm.ledger))["code"]
    return crashes >= ATTEMPTS and storm.server.run(row["run_id"])["error"]["name"] == "AppCrashed"


def _verdict(storm: Storm, rows: list[dict[str, Any]]) -> Verdict:
    outputs = {row["run_id"]: storm.server.run(row["run_id"])["output"] for row in rows if row["status"] == "Completed"}
    return judge(read_ledger(storm.ledger), outputs)


def report(storm: Storm, rows: list[dict[str, Any]], verdict: Verdict) -> None:
    kinds = dict(kinds_of_kills(read_ledger(storm.ledger)))
    statuses = dict(Counter(row["status"] for row in rows))
    sys.stderr.write(
        f"{kinds}: {storm.events} events, {len(rows)} runs {statuses}, {verdict.bodies} bodies, "
        f"{verdict.repeated} again after a kill or failure; 0 doubled, 0 lost, 0 stuck\n"
    )
