"""Finds the id of the app in an entry file, without running the file if it is written there as a text.

The id names the app's resources in the stack: the file may move, and the construct may be renamed, without a new Lambda
and the loss of the old one, on which runs may still be live.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Final

from .entry import Entry
from .errors import InfraError

__all__ = ["find_app_id"]

_SECONDS: Final = 60
_MOST_OUTPUT_CHARS: Final = 1500
_ASK: Final = """
import importlib, sys
print("\\n" + getattr(importlib.import_module(sys.argv[1]), sys.argv[2]).id)
"""


def find_app_id(entry: Entry, file: Path) -> str:
    """The id of the app in an entry file. Raises InfraError (MP614) when it cannot be found."""
    return _written(file.read_text(encoding="utf-8"), entry.attribute) or _asked(entry, file)


def _written(source: str, attribute: str) -> str:
    """The id in `app = App("shop")`, if it is a plain text and assigned once."""
    try:
        module = ast.parse(source)
    except SyntaxError:
        return ""  # importing the file says what is wrong
    values = [value for target, value in _assignments(module) if target == attribute]
    return _id_in(values[0]) if len(values) == 1 else ""


def _assignments(module: ast.Module) -> list[tuple[str, ast.expr]]:
    found: list[tuple[str, ast.expr]] = []
    for statement in ast.walk(module):
        if isinstance(statement, ast.Assign):
            found += [(target.id, statement.value) for target in statement.targets if isinstance(target, ast.Name)]
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            found.append((statement.target.id, statement.value))
    return found


def _id_in(value: ast.expr) -> str:
    if not isinstance(value, ast.Call):
        return ""
    name = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
    given = [keyword.value for keyword in value.keywords if keyword.arg == "id"] or value.args[:1]
    if name != "App" or not given or not isinstance(given[0], ast.Constant):
        return ""
    return given[0].value if isinstance(given[0].value, str) else ""


def _asked(entry: Entry, file: Path) -> str:
    """The id that the imported file gives."""
    command = [sys.executable, "-c", _ASK, entry.module, entry.attribute]
    try:
        done = subprocess.run(  # noqa: S603 - the user's own code
            command, cwd=entry.root, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        problem = done.stderr.strip()[-_MOST_OUTPUT_CHARS:]
    except subprocess.TimeoutExpired:
        raise InfraError("MP614", _unknown(file, f"importing it took longer than {_SECONDS} s")) from None
    if done.returncode or not done.stdout.strip():
        raise InfraError("MP614", _unknown(file, f"importing it failed:\n{problem}"))
    return done.stdout.strip().rpartition("\n")[2]


def _unknown(file: Path, problem: str) -> str:
    return (
        f"The id of the app in {str(file)!r} is not written in it as a text, and {problem}\n"
        "Write it as App(\"shop\"), or give it to the construct: MilepostApp(…, app_id='shop')."
    )
