"""Cold starts: what importing costs, over what it cannot do without. Each in processes of its own, taken in turns."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

from bench.table import show

ROUNDS = 9
_CLOCK = "import time, sys; began = time.process_time(); {}; print(time.process_time() - began)"


def cold_starts() -> None:
    """Import times, as the median of several processes."""
    _over(
        "the SDK",
        "from milepost import App, Context, Event",
        "pydantic",
        "from pydantic import BaseModel, TypeAdapter",
        "aim ≤ 60 ms",
    )
    _over(
        "the orchestrator",
        "import milepost_handlers.orchestrator",
        "boto3",
        "import boto3; boto3.client",
        "aim ≤ 150 ms",
    )


def _over(what: str, statement: str, floor: str, floor_statement: str, aim: str) -> None:
    times: dict[str, list[float]] = {statement: [], floor_statement: []}
    for _ in range(ROUNDS):
        for each, taken in times.items():
            taken.append(_import(each))
    whole, bare = (statistics.median(taken) * 1000 for taken in times.values())
    show(f"CPU of importing {what} / bare {floor}", f"{whole:.0f} / {bare:.0f} ms", f"+{whole - bare:.0f} ms, {aim}")


def _import(statement: str) -> float:
    printed = subprocess.run(
        [sys.executable, "-c", _CLOCK.format(statement)],
        capture_output=True, text=True, check=True, env={**os.environ, "AWS_DEFAULT_REGION": "eu-central-1"},
    )  # fmt: skip
    return float(printed.stdout)
