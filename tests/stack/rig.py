"""A stack on moto's AWS that CloudFormation knows, with the shop's functions, and the command line over it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from milepost_console.cli.client import ClientProblem
from milepost_console.cli.main import cli
from milepost_console.testing.aws import AwsHarness, outputs_of

REGION = "us-east-1"
NAME = "shop"


def announce(aws: AwsHarness, **changed: str) -> None:
    """Make the harness's stack known to CloudFormation."""
    outputs = {key: {"Value": value} for key, value in {**outputs_of(aws.stack), **changed}.items() if value}
    template = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}, "Outputs": outputs}
    client = aws.session.client("cloudformation")
    client.create_stack(StackName=NAME, TemplateBody=json.dumps(template))
    client.close()


@dataclass(frozen=True)
class Printed:
    """What a command printed, and how it ended."""

    code: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


async def milepost(*words: str, stack: str = NAME) -> Printed:
    """Run a command over the stack. What is refused is raised, as `main` gets it."""
    arguments = [*words, "--stack", stack, "--region", REGION]
    # On a thread, for a command has an event loop of its own; the test's loop stands still meanwhile.
    done = await asyncio.to_thread(CliRunner().invoke, cli, arguments)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Printed(done.exit_code, done.output)


@contextmanager
def refused(code: str) -> Iterator[list[str]]:
    """The block is refused with this code; its message is in the list."""
    messages: list[str] = []
    with pytest.raises(ClientProblem) as caught:
        yield messages
    messages.append(str(caught.value))
    assert caught.value.code == code, messages
