"""Findings of cdk-nag that stand on purpose, each with its reason, recorded in the construct tree for audits."""

from __future__ import annotations

from typing import Final

from aws_cdk import Acknowledgment, Stack, Validations
from constructs import IConstruct

__all__ = ["DEAD_LETTERS", "RUNTIME", "TRACES", "acknowledge", "wildcard"]

RUNTIME: Final = (
    "AwsSolutions-L1",
    "The app runs on the Python that its author tried it on; `Platform(python=…)` chooses another.",
)
TRACES: Final = ("AwsSolutions-IAM5[Resource::*]", "X-Ray has no resources: whoever may write traces names none.")
DEAD_LETTERS: Final = ("AwsSolutions-SQS3", "This queue holds dead letters itself; an alarm watches it.")


def wildcard(grantee: IConstruct, resource: str, reason: str) -> None:
    """Acknowledge that a role may use all that begins so; cdk-nag wants the very resource named."""
    named = _named(Stack.of(grantee).resolve(resource))
    acknowledge(grantee, (f"AwsSolutions-IAM5[Resource::{named}]", reason))


def acknowledge(construct: IConstruct, *rules: tuple[str, str]) -> None:
    """Record that findings of a construct are known, and why they stand."""
    Validations.of(construct).acknowledge(*(Acknowledgment(id=rule, reason=reason) for rule, reason in rules))


def _named(resolved: object) -> str:
    match resolved:
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
        case {"Fn::Join": [separator, list(parts)]}:
            return str(separator).join(map(_named, parts))
        case _:
            return str(resolved)
