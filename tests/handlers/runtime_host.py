"""Lambda's Runtime API on this machine: handlers run under the real runtime client, each in a process of its own.

Source: "Using the Lambda runtime API" in the Lambda developer guide. A process that exits, hangs or grows too large is
killed and reported as Lambda reports it; the next invocation gets a fresh one.
"""

from __future__ import annotations

import http.server
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .lambda_service import FunctionError

__all__ = ["RuntimeHost", "running_host"]

_START_SECONDS = 30.0


class RuntimeHost:
    """Runs one function. `invoke` is called from one thread at a time."""

    def __init__(self, folder: Path, handler: str, *, timeout_seconds: float, memory_mb: int) -> None:
        self._folder, self._handler = folder, handler
        self._timeout, self._memory_mb = timeout_seconds, memory_mb
        self._next: queue.Queue[tuple[str, bytes]] = queue.Queue(1)
        self._outcomes: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._process: subprocess.Popen[bytes] | None = None
        self._server: http.server.ThreadingHTTPServer | None = None
        self._ready = threading.Event()
        self.starts = 0

    def invoke(self, event: Mapping[str, Any]) -> Any:
        """The handler's answer. Raises FunctionError with what Lambda would answer."""
        process = self._running()
        self._next.put(("request-1", json.dumps(event).encode()))
        end = time.monotonic() + _START_SECONDS
        begun = False
        while True:
            if not begun and self._ready.is_set():
                # The function's time runs from here: its imports are counted apart.
                begun, end = True, time.monotonic() + self._timeout
            try:
                kind, body = self._outcomes.get(timeout=0.02)
            except queue.Empty:
                self._watch(process, end)
                continue
            if kind == "response":
                return json.loads(body)
            error = json.loads(body)
            if kind == "init":
                self.stop()
            raise FunctionError(error["errorType"], error["errorMessage"])

    def stop(self) -> None:
        """End the process and its API."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _watch(self, process: subprocess.Popen[bytes], end: float) -> None:
        code = process.poll()
        if code is not None:
            self.stop()
            how = f"signal: {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
            raise FunctionError("Runtime.ExitError", f"RequestId: 1 Error: Runtime exited with error: {how}")
        if _resident_mb(process.pid) > self._memory_mb:
            self.stop()
            raise FunctionError("Runtime.OutOfMemory", "RequestId: 1 Error: Runtime exited with error: signal: killed")
        if time.monotonic() > end:
            self.stop()
            message = f"RequestId: 1 Error: Task timed out after {self._timeout:.2f} seconds"
            raise FunctionError("Sandbox.Timedout", message)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._next, self._outcomes, self._ready = queue.Queue(1), queue.Queue(), threading.Event()
            self._server = self._serve()
            environment = {
                **os.environ,
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_port}",
                "AWS_LAMBDA_FUNCTION_NAME": "shop",
                "AWS_LAMBDA_FUNCTION_VERSION": "1",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self._memory_mb),
                "LAMBDA_TASK_ROOT": str(self._folder),
                "_HANDLER": self._handler,
            }
            self._process = subprocess.Popen(
                [sys.executable, "-m", "awslambdaric", self._handler],
                cwd=self._folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            self.starts += 1
        return self._process

    def _serve(self) -> http.server.ThreadingHTTPServer:
        given, outcomes, ready = self._next, self._outcomes, self._ready
        deadline = self._timeout

        class Api(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                ready.set()
                request_id, body = given.get()
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", request_id)
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + deadline) * 1000)))
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:1:function:shop:1")
                # The client is compiled C++ and falls over a header that is missing.
                self.send_header("Lambda-Runtime-Trace-Id", "Root=1-0-0")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                body = _read(self)
                *_, before, kind = self.path.split("/")
                outcomes.put(("init" if before == "init" else kind, body))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return server


def _read(request: http.server.BaseHTTPRequestHandler) -> bytes:
    if "chunked" not in (request.headers.get("Transfer-Encoding") or ""):
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    body = b""
    while size := int(request.rfile.readline(), 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


def _resident_mb(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0
    found = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(found[0].split()[1]) / 1024 if found else 0


@contextmanager
def running_host(folder: Path, handler: str, *, timeout_seconds: float, memory_mb: int) -> Iterator[RuntimeHost]:
    host = RuntimeHost(folder, handler, timeout_seconds=timeout_seconds, memory_mb=memory_mb)
    try:
        yield host
    finally:
        host.stop()
