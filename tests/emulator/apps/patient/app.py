"""Functions that run for longer than the orchestrator waits for anything."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

from milepost import App, Retries, SyncContext

FOLDER = Path(os.environ.get("TRIALS_FOLDER", "/tmp"))

app = App("patient", retries=Retries(max_retries=2, first_delay=timedelta(seconds=1), factor=1))


def tries(name: str) -> int:
    """One more try; how many there were with it."""
    with (FOLDER / f"{name}.tries").open("a") as mark:
        mark.write(".")
        mark.flush()
        return mark.tell()


def work(name: str, how: str) -> str:
    first = tries(name) == 1
    match how:
        case "last":  # longer than the orchestrator waits, and just within the Lambda's life
            time.sleep(5.5)
        case "hang" if first:
            time.sleep(60)
        case "exit" if first:
            os._exit(7)
    return f"done after {how}"


@app.function(id="work", trigger="patient/work")
def patient(ctx: SyncContext) -> list[object]:
    name, how = ctx.event.data["name"], ctx.event.data["how"]
    before = ctx.step.run("before", tries, f"{name}-before")
    return [before, ctx.step.run("work", work, name, how)]
