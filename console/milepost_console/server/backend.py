"""What the server needs: the engine, live updates, and capabilities that depend on where it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from milepost_console.dev.live import Live
from milepost_console.dev.run_log import RunLogs
from milepost_engine.adapters.local.queue import DeadLetter
from milepost_engine.engine import Engine
from milepost_engine.ports import Invoker

__all__ = ["STATIC_FOLDER", "Backend", "DeadLetters"]

STATIC_FOLDER = Path(__file__).parent.parent / "static"


class DeadLetters(Protocol):
    """Reads and redrives dead letters. Implemented by `LocalQueue` and `SqsDeadLetters`."""

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]: ...

    async def redrive(self, ids: Sequence[int | str] | None = None) -> int: ...


@dataclass(frozen=True, slots=True)
class Backend:
    """See the module.

    Args:
        engine: The engine.
        live: Live updates; the stream of a deployed stack stays empty.
        invokers: By kind of target; for webhooks, which user code transforms.
        dead_letters: None when the server cannot read them.
        logs: Reads the log lines of runs; None when they are kept elsewhere.
        sync_url: Asks the app at a URL to register; None when apps cannot be added by URL.
        mode: "dev", or "stack" for a deployed stack, whose name is `stack`.
        options: The server's start options, for `GET /dev`.
        on_hold: Whether nothing can be written now, because the disk is full.
        ready: Set once the user's code is served; None when there is nothing to wait for.
    """

    engine: Engine
    live: Live
    invokers: Mapping[str, Invoker] = field(default_factory=dict)
    dead_letters: DeadLetters | None = None
    logs: RunLogs | None = None
    sync_url: Callable[[str], Awaitable[str]] | None = None
    mode: str = "dev"
    stack: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    ready: asyncio.Event | None = None
    on_hold: Callable[[], bool] = lambda: False
    static_folder: Path = STATIC_FOLDER

    @property
    def server_kind(self) -> str:
        """The server kind, which SDKs compare with their own mode."""
        return "dev" if self.mode == "dev" else "cloud"
