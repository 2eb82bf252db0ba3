"""Generates the documentation pages that are made from the code: `make docs`. A test fails if one is out of date."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from milepost.protocol import Opcode
from milepost_engine.core import machine
from milepost_engine.core.machine import ACCEPTS
from milepost_engine.core.opcodes import AT_DUE, OPENERS
from milepost_engine.core.outstanding import DISCOVERY_FOLLOWS, PEEK_DELAY, When
from milepost_engine.core.run import RunStatus

DOCS = Path(__file__).parent

_CLOSED_BY = {
    Opcode.STEP_PLANNED: "InvocationReturned: Completed, Failed, or Vanished",
    Opcode.SLEEP: "its time alone",
    Opcode.WAIT_FOR_EVENT: "EventMatched: Completed",
    Opcode.INVOKE_FUNCTION: "ChildFinished: Completed or Failed",
}


def state_machine() -> str:
    """The page about the life of a run, drawn from the machine's tables."""
    parts = [_HEAD, *_diagram(), _INPUTS, *_inputs(), _STEPS, *_steps(), _FOLLOWS, *_follows(), _RULES, *_rules()]
    return "\n".join([*parts, ""])


def _diagram() -> list[str]:
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> Queued: event in the future", "    [*] --> Running: event"]
    for status, rules in ACCEPTS.items():
        for target in RunStatus:
            inputs = [given.__name__ for given, rule in rules.items() if target in rule.leads_to and target != status]
            if inputs:
                lines.append(f"    {status} --> {target}: {', '.join(inputs)}")
    lines += [f"    {status} --> [*]" for status in RunStatus if status.ended]
    return [*lines, "```"]


def _inputs() -> list[str]:
    lines = ["| Status | Input | What it says | May lead to |", "|---|---|---|---|"]
    for status, rules in ACCEPTS.items():
        for given, rule in rules.items():
            said = (inspect.getdoc(given) or "").split(". ")[0].split("; None:")[0].rstrip(".")
            lines.append(f"| {status} | `{given.__name__}` | {said} | {', '.join(rule.leads_to)} |")
    return lines


def _steps() -> list[str]:
    lines = ["| Opcode | Closed by | When its time is up (TimerDue) |", "|---|---|---|"]
    for opcode in OPENERS:
        at_due = AT_DUE.get(opcode)
        outcome = f"{at_due[0].value}, with `{at_due[1].decode()[:24]}`" if at_due else "no time limit of its own"
        if at_due and len(at_due[1]) > 24:
            outcome = f"{at_due[0].value}, with an error"
        lines.append(f"| `{opcode.value}` | {_CLOSED_BY[opcode]} | {outcome} |")
    return lines


def _follows() -> list[str]:
    said = {
        When.NOW: "now",
        When.SOON: f"soon: after {PEEK_DELAY.total_seconds():g} s, or now if the last of them closes first",
        When.WAIT: "not before another step closes",
    }
    return [
        "| What no discovery has seen yet | Planned steps in flight | The SDK can peek | A discovery follows |",
        "|---|---|---|---|",
        *(
            f"| {row.unseen} | {_yes_no(row.in_flight)} | {_yes_no(row.peeks)} | {said[row.when]} |"
            for row in DISCOVERY_FOLLOWS
        ),
    ]


def _yes_no(values: tuple[bool, ...]) -> str:
    return "any" if len(values) > 1 else "yes" if values[0] else "no"


def _rules() -> list[str]:
    text = inspect.cleandoc(machine.__doc__ or "")
    rules = text.split("Rules\n", 1)[1].split("\n\n", 1)[0]
    return [re.sub(r"\s*\n\s*", " ", rule).strip() for rule in re.split(r"\n(?=\s*\d+\. )", rules)]


_HEAD = """# The life of a run

<!-- Written by docs/generate.py from the tables of engine/milepost_engine/core. Run `make docs` after a change. -->

What happens to a run is decided in one place, `advance(run, input, now)`. It is a pure function: it reads no clock, no
table and no network, so every decision can be repeated. This page is generated from its tables.
"""

_INPUTS = """
## What each status accepts

An input that is not listed for a status changes nothing.
"""

_STEPS = """
## How open steps close

A step that runs at once is recorded when it has finished. These are open first; a closed step never changes again.
"""

_FOLLOWS = """
## When a discovery follows

A discovery is a call of the function that looks for steps. This table says when the next one follows a closed step. If
several kinds of step are unseen, the soonest answer applies. A discovery that follows "soon" is called a peek.
"""

_RULES = """
## The rules
"""


if __name__ == "__main__":
    (DOCS / "state-machine.md").write_text(state_machine())
