"""Apps of our own SDK over HTTP (`-u`): served by uvicorn elsewhere, they come, change, go away and come back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .process import ROOT, DevProcess, free_port
from .served import until

CODE = """
import asyncio, hashlib
from milepost import App, Context, Event, Retries, SyncContext, WebhookRequest

app = App("remote", dev=True)

@app.function(id="story", trigger="go", retries=Retries(max_retries=9, first_delay="1s", factor=1))
async def story(ctx: Context) -> list[object]:
    pair = await asyncio.gather(ctx.step.run("a", lambda: 1), ctx.step.run("b", lambda: 2))
    await ctx.step.sleep("nap", "20ms")
    found = await ctx.step.wait_for_event("signal", "signal", timeout="1m", match="data.id")
    return [*pair, found is not None, await ctx.step.invoke("call", child, {"n": 4})]

@app.function(id="child", triggers=[], mode="checkpoint")
def child(ctx: SyncContext) -> int:
    return sum(ctx.step.run(f"part {n}", lambda: n) for n in range(ctx.event.data["n"]))

@app.webhook("hook", secret="s")
def hook(request: WebhookRequest):
    return {"name": "hooked", "data": request.json}

asgi = app.asgi()
"""


class Remote:
    """The app's own process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.process: subprocess.Popen[bytes] | None = None
        self.write(CODE)

    def write(self, code: str) -> None:
        (self.folder / "remote.py").write_text(code)

    def start(self, *environment: str) -> None:
        command = [sys.executable, "-m", "uvicorn", "remote:asgi", "--port", str(self.port), "--log-level", "warning"]
        self.process = subprocess.Popen([*command, "--app-dir", str(self.folder)], cwd=ROOT)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    made = Remote(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def server(tmp_path: Path, remote: Remote) -> Iterator[DevProcess]:
    made = DevProcess(tmp_path, "-u", remote.url)
    made.start()
    yield made
    made.stop()


def test_an_app_over_http_is_reported_missing_then_found_runs_its_story_and_survives_its_own_restart(
    server: DevProcess, remote: Remote
):
    until(lambda: "did not register" in server.log(), details=server.log)
    remote.start()
    until(lambda: "app remote registered: 2 functions" in server.log(), seconds=20, details=server.log)
    server.send("go", {"id": 1})
    until(lambda: any(s["status"] == "Waiting" for s in server.only_run(function="remote-story")["trace"]))

    remote.stop()
    remote.write(CODE.replace("lambda: n)", "lambda: n + 1)"))
    server.send("signal", {"id": 1})
    until(lambda: "AppUnreachable" in str(server.only_run(function="remote-story")["trace"]), details=server.log)
    remote.start()
    until(lambda: server.only_run(function="remote-story")["ended_at"], seconds=60, details=server.log)
    run = server.only_run(function="remote-story")
    assert (run["status"], run["output"]) == ("Completed", [1, 2, True, 10]), run
