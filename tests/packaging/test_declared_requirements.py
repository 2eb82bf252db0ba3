"""What a package imports is required by its part of the distribution, not only by chance of another package."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from tools.distributions import PACKAGES

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# The extras with which a module is used: each of them must bring all that it imports. The longest path counts.
EXTRAS: dict[str, tuple[str, ...]] = {
    "sdk/milepost": ("",),
    "sdk/milepost/testing.py": ("dev",),
    "engine/milepost_engine": ("dev", "aws"),
    "engine/milepost_engine/adapters/aws": ("aws",),
    "handlers/milepost_handlers": ("aws",),
    "infra/milepost_infra": ("infra",),
    "console/milepost_console": ("dev",),
    "console/milepost_console/stack": ("dev,aws",),
    "console/milepost_console/testing/aws.py": ("dev,moto",),
}
# A pytest plugin is loaded by a pytest that is there.
PRESENT = {"console/milepost_console/testing/fixtures.py": {"pytest"}}


def names(requirements: list[str]) -> set[str]:
    found = (re.match(r"[\w.-]+", line) for line in requirements)
    return {normal(name[0]) for name in found if name}


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def declared(extras: str) -> set[str]:
    """The distributions that `pip install milepost[extras]` asks for by name."""
    of_extras = [line for extra in extras.split(",") if extra for line in PROJECT["optional-dependencies"][extra]]
    return names([*PROJECT["dependencies"], *of_extras])


def imported(module: Path) -> Iterator[str]:
    """The packages that a module imports from outside of Milepost and the standard library."""
    for node in ast.walk(ast.parse(module.read_text())):
        match node:
            case ast.Import():
                found = [alias.name for alias in node.names]
            case ast.ImportFrom(level=0, module=str(name)):
                found = [name]
            case _:
                continue
        tops = {name.partition(".")[0] for name in found}
        yield from tops - sys.stdlib_module_names - PACKAGES.keys() - {"__future__"}


def extras_of(path: str) -> tuple[str, ...]:
    fits = [prefix for prefix in EXTRAS if path == prefix or path.startswith(f"{prefix}/")]
    return EXTRAS[max(fits, key=len)]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_import_of_a_package_is_declared(package: str) -> None:
    distributions_of = metadata.packages_distributions()
    missing = set()
    for module in (ROOT / PACKAGES[package] / package).rglob("*.py"):
        path = module.relative_to(ROOT).as_posix()
        for name in set(imported(module)) - PRESENT.get(path, set()):
            providers = {normal(one) for one in distributions_of.get(name, [name])}
            missing |= {(path, name, extras) for extras in extras_of(path) if not providers & declared(extras)}
    assert not missing


def test_the_version_is_written_in_one_place() -> None:
    assert PROJECT["dynamic"] == ["readme", "version"]
    assert "version" not in PROJECT
