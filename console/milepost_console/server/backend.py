"""What the server serves: the engine, the news, and what only some places can do."""

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
    """Messages that were given up; `LocalQueue` fits, and `SqsDeadLetters`."""

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]: ...

    async def redrive(self, ids: Sequence[int | str] | None = None) -> int: ...


@dataclass(frozen=True, slots=True)
class Backend:
    """See the module.

    Args:
        engine: Decides and remembers everything.
        live: The news; its stream is empty where nothing is told.
        invokers: For webhooks, which the user's code reads; by kind of target.
        dead_letters: None where a queue's own console shows them.
        logs: Where the lines of runs are read; None where they are only kept elsewhere.
        sync_url: Asks the app at a URL to register; None where apps register otherwise.
        mode: "dev", or "stack" for a deployed one, whose name is `stack`.
        options: What the server was started with, for `GET /dev`.
        ready: Set once the user's code is served; None where there is nothing to wait for.
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
    static_folder: Path = STATIC_FOLDER

    @property
    def server_kind(self) -> str:
        """What SDKs compare with their own mode."""
        return "dev" if self.mode == "dev" else "cloud"
