"""Stacks for template tests: synthesised once, with assets that pack nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Before the first import of aws_cdk: the rule engine takes seconds, and has its own test.
os.environ.setdefault("CDK_VALIDATION", "false")
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "1")

from aws_cdk import App, Stack
from aws_cdk import aws_lambda as lambda_
from aws_cdk.assertions import Template

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

    def template(self) -> Template:
        return Template.from_stack(self.stack)


def make(folder: Path, *, app: App | None = None, app_options: Mapping[str, Any] | None = None, **options: Any) -> Made:
    """A stack with a Milepost and one app."""
    stack = Stack(app or App(), "Stack")
    milepost = Milepost(stack, "Milepost", assets=EmptyAssets(folder), **options)
    one = MilepostApp(milepost, "Shop", **{"entry": ENTRY, **(app_options or {})})
    return Made(stack, milepost, [one])


def resources(template: Mapping[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The resources of one type, by logical id."""
    return {name: made for name, made in template["Resources"].items() if made["Type"] == kind}
