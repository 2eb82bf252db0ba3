"""Findings of cdk-nag that stand on purpose, each with its reason, recorded in the construct tree for audits."""

from __future__ import annotations

from typing import Final

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct

__all__ = ["DEAD_LETTERS", "OBJECTS", "RUNTIME", "VERSIONS", "acknowledge"]

RUNTIME: Final = (
    "AwsSolutions-L1",
    "The default is the newest Python that all our tests also run on; `Platform(python=…)` chooses another.",
)
DEAD_LETTERS: Final = ("AwsSolutions-SQS3", "This queue holds dead letters itself; an alarm watches it.")
VERSIONS: Final = (
    "AwsSolutions-IAM5",
    "Runs are pinned to published versions of this one function, so all its versions may be invoked.",
)
OBJECTS: Final = (
    "AwsSolutions-IAM5",
    "Large values are objects of this one bucket that belongs to Milepost; their keys are not known beforehand.",
)


def acknowledge(construct: IConstruct, *rules: tuple[str, str]) -> None:
    """Record that findings of a construct are known, and why they stand."""
    Validations.of(construct).acknowledge(*(Acknowledgment(id=rule, reason=reason) for rule, reason in rules))
