"""Amazon's DynamoDB Local: fetched once from npm into `.cache`, started on a free port, killed at the end.

It needs Java and, the first time, npm. Its licence allows testing, not shipping. It listens on all interfaces and
cannot be configured otherwise; it has nothing but the items of the tests.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["SKIP", "running_dynamodb_local"]

PACKAGE = "amplify-dynamodb-simulator@2.9.30"  # carries DynamoDB Local 1.25.1
CACHE = Path(__file__).parents[2] / ".cache" / "dynamodb-local"
SKIP = "MILEPOST_SKIP_DYNAMODB_LOCAL"
ENDPOINT = "MILEPOST_DYNAMODB_ENDPOINT"
"""Names another emulator, already running and empty, to hold to the contract instead (ministack, for example)."""
READY_SECONDS = 60


@contextmanager
def running_dynamodb_local() -> Iterator[str]:
    """The endpoint's URL while it runs."""
    if endpoint := os.environ.get(ENDPOINT):
        yield endpoint
        return
    if os.environ.get(SKIP) == "1":
        pytest.skip(f"{SKIP}=1")
    folder = _fetched()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        _tool("java"), "-Xmx300m", "-XX:+UseSerialGC", "-Djava.library.path=./DynamoDBLocal_lib",
        "-jar", "DynamoDBLocal.jar", "-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(port),
    ]  # fmt: skip
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_ready(server, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def _fetched() -> Path:
    folder = CACHE / "package" / "emulator"
    if folder.exists():
        return folder
    CACHE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE.parent) as scratch:
        fetched = subprocess.run(
            [_tool("npm"), "pack", PACKAGE, "--silent"], cwd=scratch, capture_output=True, text=True, check=False
        )
        if fetched.returncode:
            pytest.fail(f"cannot fetch {PACKAGE} from npm (set {SKIP}=1 to go without): {fetched.stderr}")
        shutil.unpack_archive(Path(scratch) / fetched.stdout.strip(), scratch, "gztar")
        CACHE.mkdir(exist_ok=True)
        try:
            (Path(scratch) / "package").rename(CACHE / "package")
        except OSError:
            if not folder.exists():  # else another worker was faster
                raise
    return folder


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"DynamoDB Local needs {name} on the PATH; install it, or set {SKIP}=1 to go without")
    return path


def _wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    give_up_at = time.monotonic() + READY_SECONDS
    while time.monotonic() < give_up_at:
        if server.poll() is not None:
            pytest.fail(f"DynamoDB Local ended with status {server.returncode}; is the Java version 11 or newer?")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"DynamoDB Local was not ready after {READY_SECONDS} s")
