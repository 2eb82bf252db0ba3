"""A dev server inside the test's process: real engine, real socket, a store in memory, a thread of its own."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import uvicorn

from milepost import App
from milepost_console.code.host import KIND
from milepost_console.dev.dev_server import bind
from milepost_console.dev.http_apps import Remotes
from milepost_console.dev.live import Live
from milepost_console.dev.local import LocalEngine, open_local
from milepost_console.dev.run_log import RunLogMemory, RunLogs, collect_lines
from milepost_console.server.app import build_app
from milepost_console.server.backend import Backend
from milepost_engine.adapters.clock import SystemClock
from milepost_engine.adapters.local.invoke_inprocess import InProcessInvoker
from milepost_engine.ports import Clock, Target

T = TypeVar("T")


@dataclass(frozen=True)
class Served:
    """A running server. `notes` are the lines that a terminal would show."""

    url: str
    backend: Backend
    local: LocalEngine
    code: InProcessInvoker
    loop: asyncio.AbstractEventLoop
    notes: list[str]

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """One request, with the header that the API asks for."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"x-milepost": "1", "content-type": "application/json"} | headers
        return httpx.request(method, self.url + path, content=content, headers=sent, trust_env=False)

    def get(self, path: str) -> Any:
        return self.ask("GET", path).raise_for_status().json()

    def post(self, path: str, body: object = None) -> Any:
        return self.ask("POST", path, {} if body is None else body).raise_for_status().json()

    def send(self, *events: dict[str, Any]) -> list[str]:
        return self.post("/e/test", list(events))["ids"]

    def runs(self, **where: str) -> list[dict[str, Any]]:
        query = "&".join(f"{key}={value}" for key, value in where.items())
        return self.get(f"/api/runs?limit=500&{query}")["runs"]

    def ended(self, count: int, **where: str) -> list[dict[str, Any]]:
        """So many runs, all of them ended."""
        found: list[dict[str, Any]] = []

        def check() -> bool:
            found[:] = self.runs(**where)
            return len(found) == count and all(row["ended_at"] for row in found)

        until(check, details=lambda: str([(row["function_id"], row["status"]) for row in found]))
        return found

    def serve(self, app: App) -> None:
        """Serve an app's functions in this process."""
        self.code.apps[app.id] = app
        manifest = app.manifest(f"{self.url}/process/{app.id}")
        self.do(self.local.engine.registry.sync(manifest, Target(KIND, app.id)))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the server's own event loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)


def until(check: Callable[[], object], *, seconds: float = 60, details: Callable[[], str] = lambda: "") -> None:
    """Ask again until it holds: what runs on another thread or in another process has no clock that one could wind."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, details()
        threading.Event().wait(0.01)


@contextmanager
def served(
    *apps: App, stack: str | None = None, logs: RunLogs | None = None, clock: Clock | None = None
) -> Iterator[Served]:
    """Serve some apps until the block ends.

    With `stack`, as the dashboard of a stack of that name, which gets no updates and has these logs. With a `clock`
    that is wound, time stands still until then.
    """
    ready: list[Served] = []
    stop: list[Callable[[], object]] = []
    wake = threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(_run(ready, stop, wake, stack, logs, clock or SystemClock()))
        except BaseException as error:  # noqa: BLE001 - raised on the test's own thread
            failed.append(error)
        finally:
            wake.set()

    thread = threading.Thread(target=run, name="dev server")
    thread.start()
    assert wake.wait(20)
    if failed:
        raise failed[0]
    try:
        for app in apps:
            ready[0].serve(app)
        yield ready[0]
    finally:
        stop[0]()
        thread.join(20)
    if failed:
        raise failed[0]


async def _run(
    ready: list[Served],
    stop: list[Callable[[], object]],
    wake: threading.Event,
    stack: str | None,
    logs: RunLogs | None,
    clock: Clock,
) -> None:
    live, notes = Live(), list[str]()
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    listening = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    memory = RunLogMemory(clock.now())
    code = InProcessInvoker()
    async with open_local(":memory:", live, {KIND: code}, clock=clock) as local:
        code.checkpointer = local.engine.checkpointer
        remotes = Remotes(local.http, lambda said, _: notes.append(said))

        async def sync_url(address: str) -> str:
            return await remotes.sync(backend, address)

        queue = local.queue
        backend = Backend(local.engine, live, local.invokers, dead_letters=queue, logs=memory, sync_url=sync_url)
        if stack:
            backend = Backend(local.engine, Live(), logs=logs, mode="stack", stack=stack)
        config = uvicorn.Config(build_app(backend), log_config=None, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        tasks = [asyncio.create_task(server._serve([listening])), asyncio.create_task(local.work())]
        ready.append(Served(url, backend, local, code, loop, notes))
        stop.append(lambda: loop.call_soon_threadsafe(ended.set))
        wake.set()
        with collect_lines(memory, live.publish_log):
            await ended.wait()
        live.close()
        backend.live.close()
        server.should_exit = True
        await asyncio.wait({tasks[0]}, timeout=5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        listening.close()
