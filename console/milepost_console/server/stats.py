"""Statistics of a function's last 24 hours: counts, durations, and hourly buckets."""

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
    """Computes statistics from a function's runs; cached for two seconds, because pages poll."""

    def __init__(self, engine: Engine, *, most: int = MAX_RUNS) -> None:
        self._engine = engine
        self._most = most
        self._kept: dict[str, tuple[datetime, dict[str, Json]]] = {}

    async def of(self, function_id: str) -> dict[str, Json]:
        """The statistics of one function. With more than 5,000 runs, only the latest count and `cut` is set."""
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
    """Statistics of some runs, with hourly buckets by queueing time, oldest first."""
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
        "series": [_bucket(bucket, now - (HOURS - index) * _HOUR) for index, bucket in enumerate(buckets)],
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
    """The nearest-rank percentile."""
    if not ordered:
        return None
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
