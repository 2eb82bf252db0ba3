"""cdk-nag findings that are accepted on purpose, each with a reason, recorded in the construct tree for audits."""

from __future__ import annotations

from typing import Final

from aws_cdk import Acknowledgment, Stack, Validations
from constructs import IConstruct

__all__ = ["DEAD_LETTERS", "RUNTIME", "TRACES", "acknowledge", "wildcard"]

RUNTIME: Final = (
    "AwsSolutions-L1",
    "The app runs on the Python version that its author uses; `Platform(python=…)` chooses another.",
)
TRACES: Final = ("AwsSolutions-IAM5[Resource::*]", "X-Ray has no resource-level permissions for writing traces.")
DEAD_LETTERS: Final = ("AwsSolutions-SQS3", "This queue is itself a dead-letter queue; an alarm watches it.")


def wildcard(grantee: IConstruct, resource: str, reason: str) -> None:
    """Acknowledge a wildcard permission of a role. cdk-nag requires the exact resource."""
    named = _named(Stack.of(grantee).resolve(resource))
    acknowledge(grantee, (f"AwsSolutions-IAM5[Resource::{named}]", reason))


def acknowledge(construct: IConstruct, *rules: tuple[str, str]) -> None:
    """Record that findings of a construct are accepted, and why."""
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
