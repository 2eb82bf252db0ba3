"""How a function has done in the last day: counts, durations, and hour by hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, cast

from milepost_engine.codec import Json
from milepost_engine.engine import Engine
from milepost_engine.operations.queries import RunFilter, iso

__all__ = ["Stats"]

HOURS: Final = 24
MAX_RUNS: Final = 5000
KEEP_SECONDS: Final = 2.0
_HOUR: Final = timedelta(hours=1)

Row = Mapping[str, Json]


class Stats:
    """Reads a function's runs; what was read is kept for two seconds, since a page asks again and again."""

    def __init__(self, engine: Engine, *, most: int = MAX_RUNS) -> None:
        self._engine = engine
        self._most = most
        self._kept: dict[str, tuple[datetime, dict[str, Json]]] = {}

    async def of(self, function_id: str) -> dict[str, Json]:
        """The statistics of one function; over its latest 5 000 runs where there are more, and then `cut`."""
        now = self._engine.clock.now()
        kept = self._kept.get(function_id)
        if kept is not None and now - kept[0] < timedelta(seconds=KEEP_SECONDS):
            return kept[1]
        where = RunFilter(functions=(function_id,), since=now - HOURS * _HOUR)
        page = await self._engine.queries.list_runs(where, limit=self._most)
        made = summary(cast("Sequence[Row]", page["runs"]), now) | {"cut": bool(page["next"] or page["cut"])}
        self._kept[function_id] = (now, made)
        return made


def summary(rows: Sequence[Row], now: datetime) -> dict[str, Json]:
    """The numbers of some runs; buckets of an hour, the oldest first, by when the runs were queued."""
    counts = dict.fromkeys(("Completed", "Failed", "Cancelled", "Running", "Queued"), 0)
    buckets: list[list[Row]] = [[] for _ in range(HOURS)]
    for row in rows:
        counts[str(row["status"])] += 1
        age = (now - datetime.fromisoformat(str(row["queued_at"]))) // _HOUR
        if 0 <= age < HOURS:
            buckets[HOURS - 1 - age].append(row)
    durations = _durations(rows)
    return {
        "completed": counts["Completed"],
        "failed": counts["Failed"],
        "cancelled": counts["Cancelled"],
        "running": counts["Running"] + counts["Queued"],
        "queued": counts["Queued"],
        "p50_ms": _percentile(durations, 50),
        "p99_ms": _percentile(durations, 99),
        "series": [_bucket(bucket, now - (HOURS - place) * _HOUR) for place, bucket in enumerate(buckets)],
    }


def _bucket(rows: Sequence[Row], at: datetime) -> dict[str, Json]:
    return {
        "at": iso(at),
        "completed": sum(row["status"] == "Completed" for row in rows),
        "failed": sum(row["status"] == "Failed" for row in rows),
        "p50_ms": _percentile(_durations(rows), 50),
    }


def _durations(rows: Sequence[Row]) -> list[int]:
    return sorted(cast("int", row["duration_ms"]) for row in rows if row["status"] == "Completed")


def _percentile(ordered: Sequence[int], percent: int) -> int | None:
    """The smallest value that so many per cent do not exceed."""
    if not ordered:
        return None
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
