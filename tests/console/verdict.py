"""Judges runs by the ledger that their bodies wrote: what ran twice, what was lost, what the output came from.

The ledger proves what was recorded: a value that a later body or the run's output carries was recorded before that
body began. A body may run again only if the one before failed, or if its process or its dev server was killed. The
dev server's queue has no lease that runs out, so a process that was only stopped gives no reason to run a body again.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]


@dataclass
class Verdict:
    """What was found, in sentences; empty lists mean that every promise held."""

    bodies: int = 0
    repeated: int = 0
    """Bodies that ran again for a reason: a kill, or a failure."""
    doubled: list[str] = field(default_factory=list)
    """A body that began after a result of its step was recorded, or without a reason."""
    side_by_side: list[str] = field(default_factory=list)
    """Two bodies of a step at the same time, although no kill had cut the first one off."""
    underived: list[str] = field(default_factory=list)
    """A value that no body made, or two values of one step."""

    def faults(self) -> list[str]:
        return self.doubled + self.side_by_side + self.underived


def read_ledger(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def judge(ledger: Iterable[Row], outputs: Mapping[str, list[str] | None]) -> Verdict:
    """The verdict on all runs of a ledger; `outputs` has what each run returned, None if it was cancelled."""
    rows = list(ledger)
    killed = {row["killed"]: row["at"] for row in rows if row["what"] == "kill"}
    by_run: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if "run" in row:
            by_run[row["run"]].append(row)
    verdict = Verdict()
    for run_id, story in by_run.items():
        _judge_run(verdict, run_id, sorted(story, key=lambda row: row["at"]), killed, outputs.get(run_id))
    return verdict


def _judge_run(verdict: Verdict, run_id: str, story: list[Row], killed: Mapping[int, float], output: Any) -> None:
    begun = [row for row in story if row["what"] == "begun"]
    over = {row["value"]: row for row in story if row["what"] != "begun"}
    known: dict[str, tuple[str, float]] = {}
    made = {row["value"] for row in story if row["what"] == "ended"}
    carried = [(value, row["at"]) for row in begun for value in row["earlier"]]
    if isinstance(output, list):
        carried += [(value, float("inf")) for value in output]
    for value, at in carried:
        step = value.split(":")[0]
        first = known.setdefault(step, (value, at))[0]
        if first != value:
            verdict.underived.append(f"{run_id}: {step} was {first}, then {value}")
        elif step not in {"paid", "call"} and value not in made:
            verdict.underived.append(f"{run_id}: no body made {value}")
    bodies: dict[str, list[Row]] = defaultdict(list)
    for row in begun:
        verdict.bodies += 1
        where = f"{run_id} {row['step']}"
        if row["at"] > known.get(row["step"], ("", float("inf")))[1]:
            verdict.doubled.append(f"{where}: began at {row['at']:.3f}, recorded by {known[row['step']][1]:.3f}")
        verdict.repeated += bool(bodies[row["step"]])
        for before in bodies[row["step"]]:
            _judge_pair(verdict, where, before, row, over.get(before["value"]), killed)
        bodies[row["step"]].append(row)


def _judge_pair(
    verdict: Verdict, where: str, before: Row, again: Row, end: Row | None, killed: Mapping[int, float]
) -> None:
    cut_off = min(killed.get(before["pid"], float("inf")), killed.get(before["server"], float("inf")))
    if cut_off < again["at"]:
        return
    if end is None or end["at"] > again["at"]:
        verdict.side_by_side.append(f"{where}: {before} and {again}")
    elif end["what"] != "failed":
        verdict.doubled.append(f"{where}: {before} ended, and nobody was killed before {again}")


def kinds_of_kills(ledger: Iterable[Row]) -> Counter[str]:
    return Counter(row["kind"] for row in ledger if row["what"] in {"kill", "stop"})
