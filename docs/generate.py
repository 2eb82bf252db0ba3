"""Writes the pages that follow from the code: `make docs`. A test fails when one of them is out of date.

`PAGES` names them all. A page is either written whole, or between two markers, with text written by hand around it.
"""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from milepost.protocol import Opcode
from milepost_engine.core import machine
from milepost_engine.core.machine import ACCEPTS
from milepost_engine.core.opcodes import AT_DUE, OPENERS
from milepost_engine.core.outstanding import DISCOVERY_FOLLOWS, PEEK_DELAY, When
from milepost_engine.core.run import RunStatus

DOCS: Final = Path(__file__).parent
ROOT: Final = DOCS.parent

# --- the life of a run ----------------------------------------------------------------------------------------------

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
        "| What no discovery has seen yet | Planned steps in flight | SDK with early peeks | A discovery follows |",
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
table and no network, so every decision can be reproduced. This page is generated from its tables.
"""

_INPUTS = """
## What each status accepts

An input that is not listed for a status changes nothing.
"""

_STEPS = """
## How open steps close

A step that runs at once is recorded when it finishes. The steps below are open first. A closed step never changes.
"""

_FOLLOWS = """
## When a discovery follows

A discovery is a call to the function that looks for its next steps. This table says when one follows a closed step. If
several kinds of step are unseen, the soonest answer applies. A discovery that follows "soon" is always a peek.
"""

_RULES = """
## The rules
"""

# --- the map of the code --------------------------------------------------------------------------------------------

PACKAGES: Final = (
    "sdk/milepost",
    "engine/milepost_engine",
    "handlers/milepost_handlers",
    "infra/milepost_infra",
    "console/milepost_console",
)


def code_map() -> str:
    """docs/code-map.md: the laws of import, and every module with the first line of its docstring."""
    text = (DOCS / "code-map.md").read_text()
    text = _between(text, "layers", _layers())
    return _between(text, "modules", "\n\n".join(_package(ROOT / package) for package in PACKAGES))


def _between(text: str, name: str, content: str) -> str:
    """The text with the content between `<!-- name: … -->` and `<!-- /name -->`."""
    found = re.search(rf"(<!-- {name}: [^\n]*-->\n)(.*?)(<!-- /{name} -->)", text, re.DOTALL)
    if found is None:
        raise ValueError(f"docs/code-map.md has no markers `<!-- {name}: … -->` and `<!-- /{name} -->`: restore them")
    return f"{text[: found.end(1)]}\n{content}\n\n{text[found.start(3) :]}"


def _package(folder: Path) -> str:
    parts = [f"### {folder.relative_to(ROOT)}", *_room(folder)]
    rooms = sorted({path.parent for path in folder.rglob("*.py")} - {folder})
    for room in rooms:
        parts += [f"#### {room.relative_to(ROOT)}", *_room(room)]
    return "\n\n".join(parts)


def _room(folder: Path) -> Iterator[str]:
    """The room's own first line, if it has one, and the table of its modules."""
    paths = sorted(folder.glob("*.py"))
    own = _first_line(folder / "__init__.py")
    if own:
        yield own
    rows = [
        f"| [`{path.stem}`](../{path.relative_to(ROOT)}) | {_first_line(path).replace('|', chr(92) + '|')} |"
        for path in paths
        if path.name != "__init__.py"
    ]
    if rows:
        yield "\n".join(["| module | what it is for |", "|---|---|", *rows])


def _first_line(path: Path) -> str:
    """The first line of a module's docstring; empty when it has none."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) if path.is_file() else None
    return docstring.splitlines()[0] if docstring else ""


def _layers() -> str:
    """The contracts of import-linter, as pyproject.toml states them."""
    contracts: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    return "\n\n".join(f"**{contract['id']}**: {contract['name']}.{_shown(contract)}" for contract in contracts)


def _shown(contract: dict[str, Any]) -> str:
    if contract["type"] != "layers":
        return ""
    rows = (" · ".join(f"`{name.strip()}`" for name in layer.split("|")) for layer in contract["layers"])
    return "\n\n" + "\n".join(f"{place}. {row}" for place, row in enumerate(rows, 1))


# --- all pages ------------------------------------------------------------------------------------------------------

PAGES: Final[dict[str, Callable[[], str]]] = {"state-machine.md": state_machine, "code-map.md": code_map}


if __name__ == "__main__":
    for name, write in PAGES.items():
        (DOCS / name).write_text(write())
