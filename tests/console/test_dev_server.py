"""The dev server as a process: the sample's stories, a kill -9 under load, and an app written with the official SDK."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MILEPOST = Path(sys.executable).parent / "milepost"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`milepost dev` in a process of its own, with its state in one folder."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {**os.environ, "SHOP_FOLDER": str(self.folder), "LEDGER": str(self.folder / "ledger.txt")}
        command = [str(MILEPOST), "dev", "--port", str(self.port), "--db", str(self.folder / "dev.db"), *self.arguments]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        until(lambda: self.call("/health")["status"] == 200, 30, self.log)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def log(self) -> str:
        return (self.folder / "server.log").read_text()[-3000:]

    def call(self, path: str, body: object = None) -> dict:
        headers = {"content-type": "application/json", "x-milepost": "1"}
        sent = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, sent, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def runs(self, **where: str) -> list[dict]:
        query = "&".join(f"{key}={value}" for key, value in where.items())
        return self.call(f"/api/runs?limit=500&{query}")["runs"]


def until(check, seconds: float, told=lambda: "") -> None:
    """Ask again until it holds; a process of its own has no clock that one could wind."""
    end = time.monotonic() + seconds
    while True:
        try:
            if check():
                return
        except (urllib.error.URLError, ConnectionError, OSError):
            pass
        assert time.monotonic() < end, told()
        time.sleep(0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def shop(folder: Path) -> Iterator[Server]:
    server = Server(folder, "samples/shop/app.py")
    server.start()
    yield server
    server.stop()


def test_an_order_is_charged_once_while_the_database_is_down_and_its_run_is_replayed(shop: Server):
    services = [sys.executable, "-m", "samples.shop.services"]
    environment = {**os.environ, "SHOP_FOLDER": str(shop.folder)}
    subprocess.run([*services, "break", "database"], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
    shop.call("/e/dev", {"name": "order/created", "data": {"order_id": "8"}})
    where = {"function": "shop-fulfil-order"}

    def retrying() -> bool:
        runs = shop.runs(**where)
        detail = shop.call(f"/api/runs/{runs[0]['run_id']}") if runs else {"trace": []}
        return any(span["name"] == "create fulfilment" and span["attempts"] for span in detail["trace"])

    until(retrying, 10, shop.log)
    run_id = shop.runs(**where)[0]["run_id"]
    subprocess.run([*services, "fix", "database"], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
    until(lambda: shop.call(f"/api/runs/{run_id}")["status"] == "Completed", 30, shop.log)
    new = shop.call(f"/api/runs/{run_id}/replay", {"from_step": "send confirmation"})["run_id"]
    until(lambda: shop.call(f"/api/runs/{new}")["status"] == "Completed", 10, shop.log)
    ledger = [json.loads(line) for line in (shop.folder / "ledger.jsonl").read_text().splitlines()]
    calls = Counter((entry["service"], entry["what"]) for entry in ledger)
    assert calls["payment", "charge"] == 1
    assert calls["database", "insert into fulfilments"] == 1
    assert calls["mail", "send"] == 2


LOADED = """
import asyncio, os
from milepost import App, Context, Event, Retries

app = App("load")

def note(what):
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(what + "\\n")
    return what

@app.function(id="f", trigger=Event("go"), retries=Retries(attempts=4, first_delay="1s"))
async def f(ctx: Context) -> list[str]:
    n = ctx.event.data["n"]
    one = await ctx.step.run("one", note, f"{n} one")
    pair = await asyncio.gather(ctx.step.run("left", note, f"{n} left"), ctx.step.run("right", note, f"{n} right"))
    await ctx.step.sleep("nap", "50ms")
    return [one, *pair, await ctx.step.run("last", note, f"{n} last")]
"""


def test_kill_minus_nine_at_random_moments_under_load_loses_no_run_and_records_each_step_once(folder: Path):
    (folder / "load.py").write_text(LOADED)
    server = Server(folder, str(folder / "load.py"))
    draw = random.Random(9)
    accepted = 0
    try:
        for _ in range(8):
            server.start()
            for _ in range(draw.randrange(1, 4)):
                events = [{"name": "go", "data": {"n": accepted + n}} for n in range(10)]
                server.call("/e/dev", events)
                accepted += 10
            time.sleep(draw.random() * 0.3)
            server.kill()
        server.start()
        until(lambda: sum(r["status"] == "Completed" for r in server.runs()) == accepted, 60, server.log)
        bodies = Counter((folder / "ledger.txt").read_text().splitlines())
        assert len(bodies) == 4 * accepted
        # A body may be cut off by a kill before its result is recorded; then, and only then, it runs again.
        assert sum(bodies.values()) - len(bodies) <= 8 * 64
        for run in server.runs()[:20]:
            detail = server.call(f"/api/runs/{run['run_id']}")
            assert [span["name"] for span in detail["trace"]].count("one") == 1
            assert len(detail["output"]) == 4
    finally:
        server.stop()


OFFICIAL = """
import datetime, os, fastapi, inngest, inngest.fast_api, uvicorn

client = inngest.Inngest(app_id="official", is_production=False, api_base_url=os.environ["SERVER"],
                         event_api_base_url=os.environ["SERVER"])
tries = []

@client.create_function(fn_id="story", trigger=inngest.TriggerEvent(event="go"), retries=1)
async def story(ctx: inngest.Context) -> list:
    one = await ctx.step.run("one", lambda: _one())
    pair = await ctx.group.parallel((lambda: ctx.step.run("left", _left), lambda: ctx.step.run("right", _right)))
    await ctx.step.sleep("nap", datetime.timedelta(milliseconds=100))
    found = await ctx.step.wait_for_event("signal", event="signal", timeout=datetime.timedelta(minutes=1),
                                          if_exp="event.data.id == async.data.id")
    return [one, *pair, found is not None]

async def _one(): return 1
async def _left(): return 2
async def _right(): return 3

@client.create_function(fn_id="hopeless", trigger=inngest.TriggerEvent(event="fail"), retries=0)
async def hopeless(ctx: inngest.Context) -> None:
    raise ValueError("broken")

server = fastapi.FastAPI()
inngest.fast_api.serve(server, client, [story, hopeless])
uvicorn.run(server, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
"""


def test_an_app_written_with_the_official_sdk_runs_unchanged(folder: Path):
    (folder / "official.py").write_text(OFFICIAL)
    port = free_port()
    server = Server(folder, "-u", f"http://127.0.0.1:{port}/api/inngest")
    environment = {**os.environ, "SERVER": server.url, "PORT": str(port), "INNGEST_DEV": server.url}
    with (folder / "app.log").open("wb") as log:
        app = subprocess.Popen([sys.executable, str(folder / "official.py")], env=environment, stdout=log, stderr=log)
    told = lambda: server.log() + (folder / "app.log").read_text()[-2000:]  # noqa: E731
    try:
        server.start()
        until(lambda: len(server.call("/api/functions")["functions"]) == 2, 30, told)
        server.call("/e/dev", {"name": "go", "data": {"id": 7}})
        where = {"function": "official-story"}

        def waiting() -> bool:
            runs = server.runs(**where)
            trace = server.call(f"/api/runs/{runs[0]['run_id']}")["trace"] if runs else []
            return any(span["status"] == "Waiting" for span in trace)

        until(waiting, 20, told)
        server.call("/e/dev", {"name": "signal", "data": {"id": 7}})
        until(lambda: server.runs(**where)[0]["status"] == "Completed", 20, told)
        run = server.call(f"/api/runs/{server.runs(**where)[0]['run_id']}")
        assert run["output"] == [1, 2, 3, True]
        server.call("/e/dev", {"name": "fail", "data": {}})
        until(lambda: [r["status"] for r in server.runs(function="official-hopeless")] == ["Failed"], 20, told)
    finally:
        app.terminate()
        app.wait()
        server.stop()
