"""docs/errors.md explains every code and name that a person may meet, and none that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from milepost import errors

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "errors.md").read_text()
ROWS = re.findall(r"^\| (\S+) \|", PAGE, re.MULTILINE)


def sources(*folders: str) -> Iterator[str]:
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            yield path.read_text()


def found(pattern: str, *folders: str) -> set[str]:
    return {name for source in sources(*folders) for name in re.findall(pattern, source)}


def test_every_code_is_explained_once_and_every_explained_code_is_used():
    used = found(r"\bMP\d{3}\b", "sdk", "engine", "console", "handlers", "infra")
    explained = [name for name in ROWS if re.fullmatch(r"MP\d{3}", name)]
    assert sorted(explained) == sorted(used)


def test_every_code_of_the_data_file_is_explained():
    assert found(r'"(data_file_\w+)"', "engine") == {name for name in ROWS if name.startswith("data_file_")}


def test_every_exception_of_the_package_stands_there_with_its_code():
    rows = dict(re.findall(r"^\| (\w+) \| (\w+) \|", PAGE, re.MULTILINE))
    classes = {name: getattr(errors, name).code for name in errors.__all__ if name != "Interrupt"}
    assert {name: rows.get(name) for name in classes} == classes
    assert "`Interrupt` is not an error" in PAGE


def test_every_reason_of_an_app_not_to_serve_a_request_is_explained():
    reasons = found(r'\bcode="(\w+)"', "sdk")
    assert reasons
    assert sorted(reasons - set(ROWS)) == []


def test_every_name_that_the_engine_gives_to_a_runs_error_is_explained():
    named = r'(?:failure_text\(\s*|_refuse\(\s*run,\s*op,\s*|ProblemKind\.\w+: )"(\w+)"'
    names = found(named, "engine/milepost_engine")
    assert {"OutputTooLarge", "InvalidExpression", "AppMissing", "NothingReported"} <= names
    assert sorted(names - set(ROWS)) == []
