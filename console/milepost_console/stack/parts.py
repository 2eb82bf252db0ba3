"""Finds a stack's table, bucket, queues and logs through the outputs of the CDK construct."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

import boto3
from botocore.exceptions import ClientError

from milepost_console.cli.client import ClientProblem

from .problems import aws_problems

__all__ = ["Output", "StackParts", "find_stack", "open_session"]


class Output(StrEnum):
    """Outputs of the stack. `tests/stack/test_words.py` proves that the construct writes the same."""

    BUS = "MilepostBusName"
    TABLE = "MilepostTableName"
    BUCKET = "MilepostBucketName"
    QUEUE = "MilepostQueueUrl"
    INTAKE_QUEUE = "MilepostIntakeQueueUrl"
    DEAD_LETTERS = "MilepostDeadLetterQueueUrls"
    LOG_GROUPS = "MilepostLogGroups"
    RETENTION = "MilepostRetentionDays"


@dataclass(frozen=True, slots=True)
class StackParts:
    """Names and addresses of a Milepost's resources. `dead_letters` are the URLs of all dead-letter queues."""

    name: str
    region: str
    bus: str
    table: str
    bucket: str
    queue: str
    intake_queue: str
    dead_letters: tuple[str, ...]
    log_groups: tuple[str, ...]
    retention: timedelta


def open_session(region: str = "", profile: str = "") -> Any:
    """A `boto3.Session`; empty arguments come from the environment. Raises ClientProblem."""
    with aws_problems():
        return boto3.Session(region_name=region or None, profile_name=profile or None)


def find_stack(session: Any, name: str) -> StackParts:
    """The parts of a stack in the session's account and region.

    Args:
        session: A `boto3.Session`.
        name: The stack's name in CloudFormation.

    Raises ClientProblem when there is no such stack, it contains no Milepost, or credentials are missing.
    """
    with aws_problems():
        client = session.client("cloudformation")
        try:
            stacks = client.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            raise ClientProblem(
                "MP330",
                f"There is no stack {name!r} in {client.meta.region_name} of this account. Choose another region or "
                "account with --region or --profile, or create the stack with `milepost deploy`.",
            ) from error
        finally:
            client.close()
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", ())}
    return _read(name, client.meta.region_name, outputs)


def _read(name: str, region: str, outputs: Mapping[str, str]) -> StackParts:
    missing = [output.value for output in Output if output.value not in outputs]
    if missing:
        raise ClientProblem(
            "MP331",
            f"The stack {name!r} has no output {', '.join(missing)}: it contains no Milepost, was deployed by another "
            "version, or its first deployment failed. Deploy it with this version.",
        )
    return StackParts(
        name=name,
        region=region,
        bus=outputs[Output.BUS],
        table=outputs[Output.TABLE],
        bucket=outputs[Output.BUCKET],
        queue=outputs[Output.QUEUE],
        intake_queue=outputs[Output.INTAKE_QUEUE],
        dead_letters=tuple(outputs[Output.DEAD_LETTERS].split(",")),
        log_groups=tuple(outputs[Output.LOG_GROUPS].split(",")),
        retention=timedelta(days=int(outputs[Output.RETENTION])),
    )
