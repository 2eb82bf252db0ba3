"""A stack with a Milepost and its apps, for use without a CDK app of your own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aws_cdk import Stack
from constructs import Construct

from .milepost import Milepost
from .milepost_app import MilepostApp
from .packing import Assets

__all__ = ["MilepostStack"]


class MilepostStack(Stack):
    """One Milepost with an app for each entry file."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        entries: Mapping[str, Path],
        assets: Assets | None = None,
        api: bool = False,
        requirements: Sequence[str] = (),
    ) -> None:
        super().__init__(scope, construct_id)
        self.milepost = Milepost(self, "Milepost", assets=assets, api=api)
        self.apps = [
            MilepostApp(self.milepost, name, entry=entry, requirements=requirements) for name, entry in entries.items()
        ]
