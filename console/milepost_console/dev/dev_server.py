"""The dev server's wiring: one process for engine, HTTP server and terminal, another for the user's code.

Apart from `local.py`, the only module of the console's dev server that names adapters and reads the environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import uvicorn

from milepost_console.code.host import CHECK_SECONDS, KIND, CodeHost
from milepost_console.code.loader import AppLocation, CodeProblem, parse_location, stamps_of
from milepost_console.printer import Printer
from milepost_console.server.app import build_app
from milepost_console.server.backend import Backend
from milepost_engine.adapters.clock import SystemClock
from milepost_engine.adapters.local.sqlite_file import Durability, data_problem
from milepost_engine.ports import Invoker, Target
from milepost_engine.store.manifest import ManifestError, read_manifest

from .banner import welcome
from .http_apps import Remotes
from .live import Live, Several
from .local import LocalEngine, default_file, open_local
from .log_origin import origin_of
from .run_log import RunLogMemory, collect_lines
from .slots import CONCURRENCY, FairSlots
from .startup import keep_loaded, log_to
from .terminal import JsonLines, Lines

__all__ = ["DEFAULT_PORT", "DevOptions", "DevServer", "StartProblem", "bind", "run_dev"]

DEFAULT_PORT: Final = 8288
PORTS_TRIED: Final = 50
_OWN: Final = (KIND, "inprocess")
"""Kinds of targets that end with the dev server; data files of older versions have the second."""
_CHECKS_BETWEEN_TRIES: Final = 10
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class StartProblem(Exception):
    """The dev server cannot start; the message says what to do."""


@dataclass(frozen=True, slots=True)
class DevOptions:
    """The options of `milepost dev`. `port` None: 8288, or the next free port."""

    entries: tuple[str, ...] = ()
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
    concurrency: int = CONCURRENCY
    durability: Durability = "process"

    @property
    def file(self) -> Path | str:
        """The data file, or `:memory:`."""
        return ":memory:" if self.in_memory else self.db or default_file(os.environ, Path.home())


def bind(host: str, port: int | None) -> socket.socket:
    """A listening socket on the given port, or on the first free port from 8288. Raises StartProblem."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ports = [port] if port is not None else range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED)
    problem: OSError | None = None
    for candidate in ports:
        # Only by the protocol's number does asyncio see that this is TCP and set TCP_NODELAY. Without that, each answer
        # on a connection that is kept open waits 40 ms for an acknowledgement.
        server = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            # Frees the port at once after a restart. On POSIX it never lets two servers share a port.
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
    raise StartProblem(f"cannot listen on {where} ({problem}): choose another port with --port")


class _Server(uvicorn.Server):
    """uvicorn without its signal handling: one handler stops everything in order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class DevServer:
    """A running dev server. Created by `run_dev`."""

    options: DevOptions
    lines: Lines | JsonLines
    local: LocalEngine
    backend: Backend
    remotes: Remotes
    code: CodeHost | None
    address: str
    apps: set[str] = field(default_factory=set)
    last_problem: str = ""
    """The problem printed last. While no code is served, the same problem is not printed at every try."""

    async def begin(self) -> None:
        """Serve the code for the first time. Raises StartProblem when it cannot be loaded."""
        await self.serve_code()
        await self.forget_unserved()
        keep_loaded()
        if self.backend.ready is not None:
            self.backend.ready.set()

    async def serve_code(self, *, again: str = "") -> None:
        """Load the user's modules and serve their apps.

        `again` is the reason, once the server has started: problems are then printed, and the old code stays served.
        """
        if self.code is None:
            return
        try:
            process = await self.code.load()
            try:
                for manifest in process.manifests.values():
                    # All are read before the first is served, so that a change is served completely or not at all.
                    read_manifest(manifest)
            except ManifestError:
                await process.close()
                raise
        except (CodeProblem, ManifestError) as problem:
            if not again:
                raise StartProblem(str(problem)) from problem
            meanwhile = "the previous code stays" if self.code.serving else "calls wait until it can be loaded"
            message = f"{again} could not be loaded; {meanwhile}:\n    {problem}"
            if self.code.serving or message != self.last_problem:
                self.lines.say(message, "red")
            self.last_problem = message
            return
        self.last_problem = ""
        self.code.serve(process)
        for app_id, manifest in process.manifests.items():
            await self.local.engine.registry.sync(manifest, Target(KIND, app_id))
            self.backend.live.publish("app", {"app_id": app_id, "error": ""})
        for app_id in self.apps - process.manifests.keys():
            await self._withdraw(app_id)
        self.apps = set(process.manifests)
        if again:
            count = sum(len(cast("list[object]", manifest["functions"])) for manifest in process.manifests.values())
            self.lines.say(
                f"code reloaded: {count} function{'' if count == 1 else 's'}; live runs continue with it", "green"
            )

    def work(self) -> Iterator[Coroutine[Any, Any, None]]:
        """The work that runs until the server stops."""
        yield self.local.work()
        if self.code is not None:
            yield self.keep_serving()
        if self.options.poll or self.options.urls:
            yield self.remotes.watch(self.backend, self.options.urls)

    async def _withdraw(self, app_id: str) -> None:
        await self.local.engine.registry.remove(app_id)
        self.backend.live.publish("app", {"app_id": app_id, "error": "no longer served"})

    async def forget_unserved(self) -> None:
        """Remove apps of an earlier start whose code is not loaded this time."""
        for app in list((await self.local.engine.registry.snapshot()).apps.values()):
            if app.target.kind in _OWN and app.app_id not in self.apps:
                await self._withdraw(app.app_id)

    async def keep_serving(self) -> None:
        """Reload the code when one of its files changes or its process ends, until cancelled."""
        assert self.code is not None
        seen, checks = self.code.stamps, 0
        while True:
            await self.local.clock.sleep(CHECK_SECONDS)
            if how := self.code.take_loss():
                self.lines.say(f"the process with your code {how}; restarting it", "red")
                checks = 0
            if self.code.serving is None:
                # At once, then every few seconds: it may be killed again, or need something that is not there yet.
                if checks % _CHECKS_BETWEEN_TRIES == 0:
                    await self.serve_code(again="your code")
                checks += 1
            elif self.options.reload:
                loaded = self.code.stamps
                found = stamps_of(loaded)
                # Only when unchanged since the last check: an editor may write a file in several steps.
                if found == seen and found != loaded:
                    await self.serve_code(again="the changed code")
                    found = self.code.stamps
                seen = found


async def run_dev(options: DevOptions, printer: Printer) -> None:
    """Serve until SIGINT or SIGTERM. Raises StartProblem when it cannot start."""
    clock = SystemClock()
    kind = JsonLines if options.json_lines else Lines
    lines = kind(printer, clock, show_payloads=options.show_payloads)
    live = Live()
    folder = Path.cwd()
    try:
        locations = tuple(parse_location(text, folder) for text in options.entries)
    except CodeProblem as problem:
        raise StartProblem(str(problem)) from problem
    server_socket = bind(options.host, options.port)
    address = _address(options.host, server_socket)
    # Read by the SDK in the process with the user's code, so that events it sends come here.
    os.environ.setdefault("MILEPOST_DEV", address)
    memory = RunLogMemory(clock.now())
    with (
        printer.gathering(asyncio.get_running_loop()),
        _logging(lines),
        collect_lines(memory, live.publish_log),
        contextlib.closing(server_socket),
    ):
        try:
            async with (
                _code_host(options, locations, folder, address) as code,
                _engine(options, code, live, lines) as local,
            ):
                remotes = Remotes(local.http, lines.say)
                backend = _backend(options, local, live, remotes, memory)
                server = DevServer(options, lines, local, backend, remotes, code, address)
                await _serve(server, server_socket, printer)
        except Exception as error:
            found = data_problem(error, options.file)
            if found is None:
                raise
            beside = " To run a second server alongside it, use --db FILE or --in-memory."
            raise StartProblem(f"{found}.{beside if found.code == 'data_file_in_use' else ''}") from error


@contextlib.asynccontextmanager
async def _code_host(
    options: DevOptions, locations: Sequence[AppLocation], folder: Path, address: str
) -> AsyncIterator[CodeHost | None]:
    """The host of the user's code; None when no code was given."""
    if not locations:
        yield None
        return
    code = CodeHost(locations, folder, address, quiet_stdout=options.json_lines)
    try:
        yield code
    finally:
        await code.close()


@contextlib.asynccontextmanager
async def _engine(
    options: DevOptions, code: CodeHost | None, live: Live, lines: Lines | JsonLines
) -> AsyncIterator[LocalEngine]:
    own: dict[str, Invoker] = {} if code is None else {KIND: code}
    slots = FairSlots(options.concurrency, partial(_say_waiting, lines, options.concurrency))
    async with open_local(
        options.file, Several((live, lines)), own, slots=slots, durability=options.durability
    ) as local:
        local.store.commits.on_full = partial(_say_full, lines, options.file)
        if code is not None:
            code.checkpointer = local.engine.checkpointer
        yield local


def _say_waiting(lines: Lines | JsonLines, most: int, taken: Mapping[str, int]) -> None:
    if not taken:
        lines.say("no calls to your code are waiting", "green")
        return
    busiest = sorted(taken.items(), key=lambda pair: -pair[1])[:3]
    named = ", ".join(f"{count} of {function_id}" for function_id, count in busiest)
    lines.say(
        f"{most} calls to your code are running ({named}), the limit. Others wait their turn. "
        "Raise it with --concurrency",
        "yellow",
    )


def _say_full(lines: Lines | JsonLines, file: Path | str, full: bool) -> None:  # noqa: FBT001 - a callback
    if full:
        lines.say(f"disk full: cannot write {file}. Work is paused until space is free; nothing is lost", "red")
    else:
        lines.say("the disk has free space again: work continues", "green")


def _backend(options: DevOptions, local: LocalEngine, live: Live, remotes: Remotes, memory: RunLogMemory) -> Backend:
    async def sync_url(url: str) -> str:
        return await remotes.sync(backend, url)

    backend = Backend(
        local.engine,
        live,
        invokers=local.invokers,
        dead_letters=local.queue,
        logs=memory,
        sync_url=sync_url,
        options={"places": options.entries, "urls": options.urls},
        ready=asyncio.Event(),
        on_hold=lambda: local.store.commits.full,
    )
    return backend


async def _serve(server: DevServer, server_socket: socket.socket, printer: Printer) -> None:
    options = server.options
    http_server = _http_server(server)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # without signal handlers, Ctrl-C is a KeyboardInterrupt
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # Requests are answered while code is loading: it may send events, which wait in the queue for the engine.
    http = asyncio.create_task(http_server.serve(sockets=[server_socket]), name="http")
    waiting = asyncio.create_task(stop.wait())
    work = [waiting, http]
    try:
        starting = asyncio.create_task(server.begin(), name="begin")
        work.append(starting)
        await _first(work)
        if not stop.is_set():
            work[-1:] = [asyncio.create_task(each) for each in server.work()]
            if not options.json_lines:
                requested = options.port or DEFAULT_PORT
                await welcome(printer, server.backend, server.address, options.file, requested=requested)
            else:
                server.lines.say(f"listening on {server.address}")
            await _first(work)
    finally:
        server.backend.live.close()
        http_server.should_exit = True
        await asyncio.wait({http}, timeout=4)
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)


async def _first(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Wait for the first task to end and re-raise its exception."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


def _http_server(server: DevServer) -> uvicorn.Server:
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
    return _Server(config)


def _address(host: str, server_socket: socket.socket) -> str:
    port = server_socket.getsockname()[1]
    name = "127.0.0.1" if host in {"0.0.0.0", "::", "localhost"} else host  # noqa: S104 - how to reach it from here
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


@contextlib.contextmanager
def _logging(lines: Lines | JsonLines) -> Iterator[None]:
    """Print log records of the engine and of user code while the server runs."""
    handler = _LogLines(lines)
    root = logging.getLogger()
    before = root.level
    log_to(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


class _LogLines(logging.Handler):
    """Prints log records to the terminal, with tracebacks."""

    def __init__(self, lines: Lines | JsonLines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.logged(record.levelname, record.name, self.format(record), origin_of(record))
        except Exception:  # noqa: BLE001 - logging must never break what logs
            self.handleError(record)
