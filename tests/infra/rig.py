"""Stacks for template tests: synthesised once, with assets that pack nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from aws_cdk import App, Stack, Validations
from aws_cdk import aws_lambda as lambda_
from cdk_nag import AwsSolutionsChecks

from milepost_infra import AppSource, Milepost, MilepostApp, Platform

ENTRY = Path(__file__).parent / "entries" / "plain" / "app.py"


@dataclass
class EmptyAssets:
    """Hands out an empty folder for all code and remembers what was asked for."""

    folder: Path
    platform: Platform = field(default_factory=Platform)
    asked: list[tuple[AppSource, tuple[str, ...], dict[str, str]]] = field(default_factory=list)

    def engine(self) -> lambda_.Code:
        return lambda_.Code.from_asset(str(self.folder))

    def app(self, source: AppSource, requirements: Sequence[str], extra_files: Mapping[str, str]) -> lambda_.Code:
        self.asked.append((source, tuple(requirements), dict(extra_files)))
        return lambda_.Code.from_asset(str(self.folder))


@dataclass(frozen=True)
class Made:
    stack: Stack
    milepost: Milepost
    apps: list[MilepostApp]


def make(
    folder: Path,
    *,
    app: App | None = None,
    stack: Stack | None = None,
    app_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Made:
    """A stack with a Milepost and one app."""
    stack = stack or Stack(app or App(), "Stack")
    milepost = Milepost(stack, "Milepost", assets=EmptyAssets(folder), **options)
    one = MilepostApp(milepost, "Shop", **{"entry": ENTRY, **(app_options or {})})
    return Made(stack, milepost, [one])


@dataclass(frozen=True)
class Synthesised:
    """A finished template, and the file that it lies in."""

    made: Made
    path: Path

    @cached_property
    def template(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.path.read_text())
        return found

    def all(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of the resources of a type, by logical id."""
        return {name: one.get("Properties", {}) for name, one in resources(self.template, kind).items()}

    def statements(self, role: str) -> list[dict[str, Any]]:
        """What a role, found by a part of its logical id, is allowed; each action and resource by itself."""
        found = []
        for policy in self.all("AWS::IAM::Policy").values():
            if any(role in one["Ref"] for one in policy["Roles"]):
                found += policy["PolicyDocument"]["Statement"]
        return found


def synthesised(write: Callable[[App], Made]) -> Synthesised:
    """Synthesise an app; findings of cdk-nag that nobody acknowledged fail it."""
    app = App()
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    made = write(app)
    return Synthesised(made, Path(app.synth().directory) / "Stack.template.json")


def listed(value: Any) -> list[Any]:
    """IAM takes one or many."""
    return value if isinstance(value, list) else [value]


def resources(template: Mapping[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The resources of one type, by logical id."""
    return {name: made for name, made in template["Resources"].items() if made["Type"] == kind}
