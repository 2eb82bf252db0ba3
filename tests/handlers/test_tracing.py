"""X-Ray hears of a handler's work where tracing is on, and of nothing where it is off."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

PROBE = """
from milepost_handlers.timers import handler
from milepost_handlers.wiring import MissingVariable
try:
    handler({}, None)
except MissingVariable:
    pass
"""


@pytest.fixture
def daemon() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        yield listening


def probe(daemon: socket.socket, *, disabled: str) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")},
        "LAMBDA_TASK_ROOT": "/var/task",
        "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
        "AWS_XRAY_DAEMON_ADDRESS": f"127.0.0.1:{daemon.getsockname()[1]}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "POWERTOOLS_TRACE_DISABLED": disabled,
    }
    subprocess.run([sys.executable, "-c", PROBE], env=environment, check=True, capture_output=True)


def test_with_tracing_the_handlers_work_is_reported_with_its_error(daemon: socket.socket):
    probe(daemon, disabled="false")
    daemon.settimeout(5)
    sent = daemon.recv(65536).decode()
    assert "## handler" in sent
    assert "MissingVariable" in sent


def test_without_tracing_nothing_is_reported(daemon: socket.socket):
    probe(daemon, disabled="true")
    daemon.setblocking(False)
    with pytest.raises(BlockingIOError):
        daemon.recv(65536)
