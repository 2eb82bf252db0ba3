"""One word for one thing: a name of a class has one meaning in all five packages."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("sdk", "engine", "handlers", "infra", "console")
SAME_THING = {
    # The construct has the name of what it deploys.
    "Intake": "engine and infra",
    "Orchestrator": "engine and infra",
    "Timers": "engine and infra",
    # What one package writes another reads, and neither may import the other; tests compare the values.
    "MetricName": "handlers and infra",
    "Output": "console and infra",
    "Variable": "handlers and infra",
    # The public type of an event, and an event of that type.
    "Event": "engine and sdk",
}


def test_no_two_classes_have_one_name():
    found: dict[str, list[str]] = defaultdict(list)
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    found[node.name].append(package)
    twice = {name: " and ".join(sorted(packages)) for name, packages in found.items() if len(packages) > 1}
    assert twice == SAME_THING
