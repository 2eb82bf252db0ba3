"""kill -9 of the dev server at random moments under load: nothing is lost, and nothing recorded happens twice.

The load follows the kills, not the clock, so a slow machine has no more to do than a fast one; and the test waits as
long as runs end, not for a fixed time.

KILLS=500 kills it more often. The process with the code is killed a quarter as often, also while it loads.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from .forked import Forked
from .served import until

KILLS = int(os.environ.get("KILLS", "200"))
CODE_KILLS = KILLS // 4
EVENTS_PER_KILL = 5
STILL_SECONDS = 60
"""A run that should have ended stands still when none has ended for so long."""

STARTED = {"step": 1, "checkpoint": 1, "child": 2}

LOADED = """
import asyncio, os, uuid
from milepost import App, Context, Event, Retries

app = App("load")
QUICK = Retries(max_retries=int(os.environ.get("ATTEMPTS", "3")), first_delay="1s", factor=1, jitter=0)
with open(os.environ["LEDGER"] + ".pid", "w") as note:
    note.write(str(os.getpid()))

def note(run_id, step):
    token = uuid.uuid4().hex
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ledger, f"{run_id} {step} {token}\\n".encode())
    os.close(ledger)
    return token

@app.function(id="child", triggers=[], retries=QUICK)
async def child(ctx: Context) -> str:
    return await ctx.step.run("inner", note, ctx.run_id, "inner")

async def story(ctx: Context) -> dict[str, str]:
    n = ctx.event.data["n"]
    made = {"one": await ctx.step.run("one", note, ctx.run_id, "one")}
    made["left"], made["right"] = await asyncio.gather(
        ctx.step.run("left", note, ctx.run_id, "left"), ctx.step.run("right", note, ctx.run_id, "right"))
    await ctx.step.sleep("nap", "20ms")
    made["inner"] = await ctx.step.invoke("call", child, {"n": n})
    await ctx.step.send_event("signal", {"name": "signal", "data": {"n": n}})
    await ctx.step.wait_for_event("wait", "signal", timeout="1h", match="data.n", lookback="1h")
    return made | {"last": await ctx.step.run("last", note, ctx.run_id, "last")}

app.function(id="step", trigger=Event("go"), retries=QUICK)(story)
app.function(id="checkpoint", trigger=Event("go"), retries=QUICK, mode="checkpoint")(story)
"""


class Sender(threading.Thread):
    """Sends events one after another, each until it is accepted: what a careful client does."""

    def __init__(self, server: Forked) -> None:
        super().__init__(name="sender")
        self.server = server
        self.accepted = 0
        self.refused = 0
        self.allowed = 0
        self.stopping = threading.Event()
        self.pause = 0.0

    def run(self) -> None:
        while not self.stopping.wait(self.pause):
            if self.accepted >= self.allowed:
                continue
            event = {"name": "go", "id": f"go-{self.accepted}", "data": {"n": self.accepted}}
            try:
                self.server.call("/e/test", event)
            except (OSError, HTTPException, ValueError):
                # Dead, or killed before it answered: it may have the event or not, so the same one is sent again.
                self.refused += 1
                time.sleep(0.01)
            else:
                self.accepted += 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Forked]:
    (tmp_path / "load.py").write_text(LOADED)
    made = Forked(tmp_path, str(tmp_path / "load.py"), "--no-reload", "--no-poll")
    yield made
    made.close()


def test_killed_at_random_moments_under_load_it_loses_no_event_and_repeats_no_recorded_step(server: Forked):
    draw = random.Random(KILLS)
    sender = Sender(server)
    sender.pause = 0.05
    sender.start()
    try:
        for number in range(KILLS):
            sender.allowed += EVENTS_PER_KILL
            server.spawn()
            if number % 3:
                # Deep in its work. What was cut off often is held back for a second.
                until(server.is_up, seconds=30, details=server.log)
                time.sleep(draw.random() * (1.5 if number % 20 == 19 else 0.2))
            else:
                # While it starts, and takes up what the one before left.
                time.sleep(draw.random() * 0.15)
            server.kill()
    finally:
        sender.stopping.set()
        sender.join()
    server.start()
    count = sender.accepted
    assert count > KILLS / 2, "the load was too small to show anything"
    runs = _ended(server, 4 * count)
    assert {run["status"] for run in runs} == {"Completed"}
    _check(server, runs, count)
    sys.stderr.write(f"killed {KILLS} times: {count} events, {len(runs)} runs, {sender.refused} requests cut off\n")
    assert server.call("/api/dead-letters")["dead_letters"] == []


def test_when_the_process_with_the_code_is_killed_again_and_again_everything_still_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ATTEMPTS", "20")
    (tmp_path / "load.py").write_text(LOADED)
    server = Forked(tmp_path, str(tmp_path / "load.py"), "--no-reload", "--no-poll")
    try:
        server.start()
        draw = random.Random(CODE_KILLS)
        sender = Sender(server)
        sender.pause = 0.1
        sender.start()
        pids = set[int]()
        try:
            while len(pids) < CODE_KILLS:
                sender.allowed = EVENTS_PER_KILL * (len(pids) + 1)
                pid = int((tmp_path / "ledger.txt.pid").read_text() or 0)
                if not pid or pid in pids:
                    time.sleep(0.01)
                    continue
                time.sleep(draw.random() * 0.4)
                os.kill(pid, signal.SIGKILL)
                pids.add(pid)
        finally:
            sender.stopping.set()
            sender.join()
        runs = _ended(server, 4 * sender.accepted)
        assert {run["status"] for run in runs} == {"Completed"}
        _check(server, runs, sender.accepted)
        assert sender.refused == 0, "the server itself went on all the time"
        assert server.call("/api/dead-letters")["dead_letters"] == []
        sys.stderr.write(f"killed the code {CODE_KILLS} times: {sender.accepted} events, {len(runs)} runs\n")
    finally:
        server.close()


def _ended(server: Forked, count: int) -> list[dict]:
    found: list[dict] = []

    def check() -> bool:
        page: dict[str, Any] = {"next": ""}
        found[:] = []
        while True:
            page = server.call(f"/api/runs?limit=500&after={page['next']}")
            found.extend(page["runs"])
            if not page["next"]:
                return len(found) == count and all(run["ended_at"] for run in found)

    def details() -> str:
        live = [server.run(run["run_id"]) for run in found if not run["ended_at"]]
        letters = server.call("/api/dead-letters")["dead_letters"]
        return f"{len(found)} of {count} runs; live: {live[:3]}; dead letters: {letters[:3]}; {server.log()}"

    most = -1
    while True:
        try:
            until(check, seconds=STILL_SECONDS, details=details)
        except AssertionError:
            ended = sum(bool(run["ended_at"]) for run in found)
            if ended <= most:
                raise
            most = ended
        else:
            return found


def _check(server: Forked, runs: list[dict], count: int) -> None:
    """Each event has started each function once; each result is that of its body's last call."""
    ledger: dict[tuple[str, str], list[str]] = {}
    for line in (server.folder / "ledger.txt").read_text().splitlines():
        *subject, token = line.split()
        ledger.setdefault((subject[0], subject[1]), []).append(token)
    started: Counter[tuple[int, str]] = Counter()
    for row in runs:
        run = server.run(row["run_id"])
        started[run["event"]["data"]["n"], row["function_id"]] += 1
        names = [span["name"] for span in run["trace"]]
        assert len(names) == len(set(names)), names
        outputs = {span["name"]: span["output"] for span in run["trace"] if span["kind"] == "StepRun"}
        for name, token in outputs.items():
            # A kill may cut off a body before its result is recorded; then, and only then, it runs again.
            if name != "signal":
                assert ledger[f"{run['run_id']}", name][-1] == token, (run["run_id"], name)
    assert started == {(n, f"load-{name}"): times for n in range(count) for name, times in STARTED.items()}
