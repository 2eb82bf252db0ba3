"""The disk of a dev server fills up: everything waits, the terminal says so, and it resumes when there is room."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from .process import DevProcess
from .served import until

if sys.platform == "linux":
    import resource
else:
    pytest.skip("prlimit limits the size of another process's files on Linux only", allow_module_level=True)

APP = """
import os
from milepost import App, Context

app = App("disk")

def note(n: object) -> str:
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(f"{n}\\n")
    return "x" * 30_000

@app.function(id="f", trigger="go", retries=0)
async def f(ctx: Context) -> None:
    await ctx.step.run("note", note, ctx.event.data["n"])
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevProcess]:
    (tmp_path / "disk_app.py").write_text(APP)
    ledger = tmp_path / "ledger"
    ledger.touch()
    made = DevProcess(tmp_path, str(tmp_path / "disk_app.py"), "--no-poll", "--no-reload", LEDGER=str(ledger))
    made.start()
    yield made
    made.stop()


def room(server: DevProcess, size: int) -> None:
    assert server.process is not None
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def send(server: DevProcess, n: int) -> int:
    """The status of sending one event; 0 if there was no answer in time."""
    event = {"name": "go", "id": str(n), "data": {"n": n, "text": os.urandom(20_000).hex()}}
    request = urllib.request.Request(f"{server.url}/e/k", json.dumps(event).encode())
    try:
        with urllib.request.urlopen(request, timeout=3) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code if json.loads(refusal.read())["code"] == "MP324" else -1
    except TimeoutError:
        return 0


def test_a_full_disk_holds_everything_and_loses_nothing(server: DevProcess, tmp_path: Path):
    size = (tmp_path / "dev.db-wal").stat().st_size
    room(server, size + 400_000)
    answers: dict[int, int] = {}
    for n in range(100):
        answers[n] = send(server, n)
        if answers[n] == 503:
            break
    assert list(answers.values())[-1] == 503
    until(lambda: "disk full: cannot write" in server.log(), details=server.log)
    room(server, resource.RLIM_INFINITY)
    until(lambda: "the disk has free space again" in server.log(), details=server.log)
    accepted = [n for n, status in answers.items() if status == 200]
    assert accepted

    def ended() -> bool:
        runs = server.call("/api/runs?limit=500")["runs"]
        return len(runs) >= len(accepted) and all(run["status"] == "Completed" for run in runs)

    until(ended, seconds=60, details=server.log)
    bodies = (tmp_path / "ledger").read_text().split()
    assert len(bodies) == len(set(bodies))
    assert {str(n) for n in accepted} <= set(bodies)
    assert "Traceback" not in server.log()
    assert send(server, 1000) == 200
