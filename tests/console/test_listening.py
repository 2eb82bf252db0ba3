"""The sockets that the dev server and the dashboard of a stack listen on, and what their options reach."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from pathlib import Path

import pytest

from milepost_console.dev.dev_server import DevOptions, bind
from milepost_console.dev.local import open_local
from milepost_engine.adapters.local.sqlite_file import Durability
from milepost_engine.observe import Silent

from .process import MILEPOST


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_answers_are_sent_at_once(host: str):
    """Without TCP_NODELAY each answer on a connection that is kept open waits 40 ms."""
    at_once: list[int] = []

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted = writer.get_extra_info("socket")
        at_once.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    try:
        listening = bind(host, 0)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    server = await asyncio.start_server(accept, sock=listening)
    async with server:
        reader, writer = await asyncio.open_connection(*listening.getsockname()[:2])
        await reader.read()
        writer.close()
    assert at_once == [1]


@pytest.mark.parametrize(("durability", "level"), [("process", 1), ("power", 2)])
async def test_durability_reaches_the_data_file(tmp_path: Path, durability: Durability, level: int):
    options = DevOptions(db=tmp_path / "dev.db", durability=durability)
    async with open_local(options.file, Silent(), durability=options.durability) as local:
        assert local.store.connection.execute("PRAGMA synchronous").fetchone() == (level,)


def test_an_unknown_durability_is_refused():
    refused = subprocess.run([MILEPOST, "dev", "--durability", "none"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "'process', 'power'" in refused.stderr
