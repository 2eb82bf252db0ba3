"""Starts dev servers cheaply: everything is imported once, each server is a fork of this process.

A line `start <log> <arguments>` on standard input forks one and prints its pid; `reap <pid>` waits for its end.
Importing costs 0.7 s of CPU, a fork with its start a tenth of that: a hundred servers can be killed in seconds.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import traceback

import uvicorn.lifespan.off
import uvicorn.loops.auto
import uvicorn.protocols.http.auto

from milepost_console.cli.main import main
from milepost_console.dev import dev_server
from milepost_console.dev.live import Live
from milepost_console.dev.local import open_local
from milepost_console.server.app import build_app
from milepost_console.server.backend import Backend

NEEDED = (uvicorn.lifespan.off, uvicorn.loops.auto, uvicorn.protocols.http.auto, dev_server)


async def warm_up() -> None:
    """Once through what imports more when it is first used."""
    async with open_local(":memory:", Live()) as local:
        build_app(Backend(local.engine, Live()))


def serve(log: str, arguments: list[str]) -> None:
    """Be a dev server; never returns."""
    for number, file in ((0, os.devnull), (1, log), (2, log)):
        os.dup2(os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT), number)
    try:
        main(arguments)
    except BaseException:  # noqa: BLE001 - the fork must not come back to the loop below
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(1)


asyncio.run(warm_up())
for line in sys.stdin:
    verb, *words = shlex.split(line)
    if verb == "start":
        pid = os.fork()
        if pid == 0:
            serve(words[0], words[1:])
        sys.stdout.write(f"{pid}\n")
    else:
        os.waitpid(int(words[0]), 0)
        sys.stdout.write("reaped\n")
    sys.stdout.flush()
