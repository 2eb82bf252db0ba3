"""The dev server's wiring: one process, one event loop – engine, HTTP server, the user's code, the terminal.

The only module of the console that names adapters of time and storage besides `local.py`, and that reads the
environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvicorn
from rich.console import Console

from milepost import App
from milepost_engine.adapters.clock import SystemClock
from milepost_engine.adapters.sqlite_file import DataFileError
from milepost_engine.manifest import ManifestError, read_manifest
from milepost_engine.ports import Target

from .live import Live, Several
from .loader import CodeProblem, Loader, Stamp, parse_place
from .local import LocalEngine, default_file, open_local
from .remote import Remotes
from .run_log import RunLogMemory, keeping_lines, place_of
from .server.app import build_app
from .server.backend import Backend
from .terminal import JsonLines, Lines
from .welcome import welcome

__all__ = ["DEFAULT_PORT", "DevOptions", "DevServer", "StartProblem", "bind", "run_dev"]

DEFAULT_PORT: Final = 8288
PORTS_TRIED: Final = 50
LOOK_SECONDS: Final = 0.2
"""How often changes of the user's files are looked for; 50 files cost 0.1 ms."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_QUIET: Final = ("asyncio", "httpcore", "httpx", "uvicorn")
"""Loggers of which only warnings are worth a line."""


class StartProblem(Exception):
    """The dev server cannot start; the message says what to do."""


@dataclass(frozen=True, slots=True)
class DevOptions:
    """What `milepost dev` was asked for. `port` None: 8288, or the next free one."""

    places: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int | None = None
    db: Path | None = None
    in_memory: bool = False
    reload: bool = True
    poll: bool = True
    json_lines: bool = False
    show_payloads: bool = False
    allowed_hosts: tuple[str, ...] = ()

    @property
    def file(self) -> Path | str:
        """Where the data lie."""
        return ":memory:" if self.in_memory else self.db or default_file(os.environ, Path.home())


def bind(host: str, port: int | None) -> socket.socket:
    """A listening socket: on the given port, or on the first free one from 8288. Raises StartProblem."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ports = [port] if port is not None else range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED)
    problem: OSError | None = None
    for candidate in ports:
        server = socket.socket(family, socket.SOCK_STREAM)
        try:
            # So that a port is free at once after a restart; two servers never share one this way.
            if os.name == "posix":
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((host, candidate))
            server.listen(2048)
        except OSError as error:
            server.close()
            problem = error
            continue
        server.setblocking(False)
        return server
    where = f"{host}:{port}" if port is not None else f"{host}, ports {ports[0]} to {ports[-1]}"
    raise StartProblem(f"cannot listen on {where} ({problem}): choose another with --port")


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: one handler stops everything, in order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class DevServer:
    """A running dev server. Made by `run_dev`."""

    options: DevOptions
    lines: Lines | JsonLines
    local: LocalEngine
    backend: Backend
    remotes: Remotes
    loader: Loader | None
    address: str
    apps: dict[str, App] = field(default_factory=dict)

    async def serve_code(self, *, again: bool = False) -> None:
        """Load the user's modules and serve their apps. After a change, problems are told and the old code goes on."""
        if self.loader is None:
            return
        try:
            loaded = await asyncio.to_thread(self.loader.load)
            for app in loaded.values():
                # All before the first is served, so that a change is served whole or not at all.
                read_manifest(self._manifest(app))
            for app in loaded.values():
                await self._serve(app)
        except (CodeProblem, ManifestError) as problem:
            if not again:
                raise StartProblem(str(problem)) from problem
            self.lines.say(f"the change is not served; the code before it goes on:\n    {problem}", "red")
            return
        for app_id in self.apps.keys() - loaded.keys():
            await self._withdraw(app_id)
        self.apps = dict(loaded)
        if again:
            count = sum(len(app.functions) for app in loaded.values())
            self.lines.say(f"code reloaded: {count} functions; running runs go on with it", "green")

    async def _serve(self, app: App) -> None:
        registry = self.local.engine.registry
        await registry.sync(self._manifest(app), Target("inprocess", app.id))
        self.local.inprocess.apps[app.id] = app
        self.backend.live.tell("app", {"app_id": app.id, "error": ""})

    def _manifest(self, app: App) -> dict[str, object]:
        return app.manifest(f"{self.address}/inprocess/{app.id}")

    async def _withdraw(self, app_id: str) -> None:
        await self.local.engine.registry.remove(app_id)
        self.local.inprocess.apps.pop(app_id, None)
        self.backend.live.tell("app", {"app_id": app_id, "error": "not served any more"})

    async def forget_unserved(self) -> None:
        """Take out the apps of an earlier start whose code is not loaded this time."""
        for app in list((await self.local.engine.registry.snapshot()).apps.values()):
            if app.target.kind == "inprocess" and app.app_id not in self.apps:
                await self._withdraw(app.app_id)

    async def reload(self) -> None:
        """Serve the code anew whenever a file of it changes, until cancelled."""
        assert self.loader is not None
        seen = self.loader.loaded_stamps
        while True:
            await self.local.clock.sleep(LOOK_SECONDS)
            found: Mapping[Path, Stamp | None] = self.loader.stamps()
            # Only once it rests: an editor may write a file in several goes.
            if found == seen and found != self.loader.loaded_stamps:
                await self.serve_code(again=True)
                found = self.loader.loaded_stamps
            seen = found


async def run_dev(options: DevOptions, console: Console) -> None:
    """Serve until SIGINT or SIGTERM. Raises StartProblem when it cannot start."""
    clock = SystemClock()
    printer = JsonLines if options.json_lines else Lines
    lines = printer(console, clock, show_payloads=options.show_payloads)
    live = Live()
    folder = Path.cwd()
    try:
        places = tuple(parse_place(text, folder) for text in options.places)
    except CodeProblem as problem:
        raise StartProblem(str(problem)) from problem
    server_socket = bind(options.host, options.port)
    address = _address(options.host, server_socket)
    # The SDK reads it while the user's module is imported: events that it sends come back here.
    os.environ.setdefault("MILEPOST_DEV", address)
    memory = RunLogMemory(clock.now())
    with _logging(lines), keeping_lines(memory, live.tell_of_lines), contextlib.closing(server_socket):
        try:
            async with open_local(options.file, Several((live, lines))) as local:
                remotes = Remotes(local.http, lines.say)
                backend = _backend(options, local, live, remotes, memory)
                loader = Loader(places, folder) if places else None
                server = DevServer(options, lines, local, backend, remotes, loader, address)
                await server.serve_code()
                await server.forget_unserved()
                await _serve(server, server_socket, console)
        except DataFileError as error:
            raise StartProblem(f"{error}. With --db FILE or --in-memory a second server can run beside it.") from error


def _backend(options: DevOptions, local: LocalEngine, live: Live, remotes: Remotes, memory: RunLogMemory) -> Backend:
    async def sync_url(url: str) -> str:
        return await remotes.sync(backend, url)

    backend = Backend(
        local.engine,
        live,
        invokers={"inprocess": local.inprocess, "http": local.http},
        dead_letters=local.queue,
        logs=memory,
        sync_url=sync_url,
        options={"places": options.places, "urls": options.urls},
    )
    return backend


async def _serve(server: DevServer, server_socket: socket.socket, console: Console) -> None:
    options = server.options
    loopback = options.host in _LOOPBACK
    hosts = [*options.allowed_hosts, *([] if loopback else [socket.gethostname()])]
    app = build_app(server.backend, hosts=hosts, any_address=not loopback)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=2,
        server_header=False,
    )
    http_server = _Server(config)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C arrives as KeyboardInterrupt
            loop.add_signal_handler(number, stop.set)
    work = [
        asyncio.create_task(http_server.serve(sockets=[server_socket]), name="http"),
        asyncio.create_task(server.local.work(), name="engine"),
    ]
    if server.loader is not None and options.reload:
        work.append(asyncio.create_task(server.reload(), name="reload"))
    if options.poll or options.urls:
        work.append(asyncio.create_task(server.remotes.watch(server.backend, options.urls), name="remotes"))
    if not options.json_lines:
        await welcome(console, server.backend, server.address, options.file, requested=options.port or DEFAULT_PORT)
    else:
        server.lines.say(f"listening on {server.address}")
    waiting = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait({waiting, *work}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {waiting}:
            task.result()
    finally:
        server.backend.live.close()
        http_server.should_exit = True
        await asyncio.wait({work[0]}, timeout=4)
        for task in (waiting, *work):
            task.cancel()
        await asyncio.gather(waiting, *work, return_exceptions=True)


def _address(host: str, server_socket: socket.socket) -> str:
    port = server_socket.getsockname()[1]
    name = "127.0.0.1" if host in {"0.0.0.0", "::", "localhost"} else host  # noqa: S104 - how to reach it from here
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


@contextlib.contextmanager
def _logging(lines: Lines | JsonLines) -> Iterator[None]:
    """Log lines of the engine and of user code among the others, for as long as the server runs."""
    handler = _LogLines(lines)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


class _LogLines(logging.Handler):
    """A log record as a line of the terminal; with its traceback."""

    def __init__(self, lines: Lines | JsonLines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.logged(record.levelname, record.name, self.format(record), place_of(record))
        except Exception:  # noqa: BLE001 - logging must never break what logs
            self.handleError(record)
