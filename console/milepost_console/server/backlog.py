"""A function's backlog: its runs that have not ended, and what the latest of them wait for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, cast

from milepost.protocol import Opcode
from milepost_engine.codec import Json
from milepost_engine.core.run import Run, RunStatus
from milepost_engine.engine import Engine
from milepost_engine.operations.queries import RunFilter

__all__ = ["backlog"]

MAX_RUNS: Final = 5000
"""Runs examined, newest first."""
MAX_LOADED: Final = 50
"""Runs loaded to see what they wait for: about 15 ms on a laptop, 50 small queries on a stack."""

_WAITS: Final[Mapping[Opcode, str]] = {
    Opcode.SLEEP: "sleeping",
    Opcode.WAIT_FOR_EVENT: "waiting",
    Opcode.INVOKE_FUNCTION: "invoking",
}


async def backlog(
    engine: Engine, function_id: str, *, most: int = MAX_RUNS, loaded_most: int = MAX_LOADED
) -> dict[str, Json]:
    """Counts of the runs that have not ended; `cut` when older runs were not examined."""
    where = RunFilter(functions=(function_id,), statuses=(RunStatus.QUEUED, RunStatus.RUNNING))
    page = await engine.queries.list_runs(where, limit=most, scan_limit=most)
    rows = cast("Sequence[Mapping[str, Json]]", page["runs"])
    running = [str(row["run_id"]) for row in rows if row["status"] == RunStatus.RUNNING.value]
    loaded = await asyncio.gather(*(engine.runs.load(run_id) for run_id in running[:loaded_most]))
    now = engine.clock.now()
    doing = Counter(_doing(run, now) for run in loaded if run is not None and not run.status.ended)
    return {
        "queued": len(rows) - len(running),
        "running": len(running),
        "looked_at": sum(doing.values()),
        **{word: doing[word] for word in ("working", "retrying", "sleeping", "waiting", "invoking")},
        "oldest_at": rows[-1]["queued_at"] if rows else None,
        "cut": bool(page["cut"] or page["next"]),
    }


def _doing(run: Run, now: datetime) -> str:
    """What a running run does: working, retrying, or what its open steps wait for."""
    if any(tries and tries[-1].next_at > now for tries in run.failures.values()):
        return "retrying"
    kinds = [op.kind for op in run.open_ops]
    if not kinds or any(kind not in _WAITS for kind in kinds):
        return "working"
    return _WAITS[kinds[0]]
