"""Commands for deployed stacks only: `milepost deploy` and `milepost dashboard`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from milepost_console.printer import Printer

from .client import ClientProblem
from .context import open_stack_client, stack_package
from .target import current_target, with_target

__all__ = ["dashboard", "deploy"]


def deploy(
    *,
    entries: Annotated[
        list[Path], typer.Argument(help="Your code, such as app.py: each file defines one App and becomes one Lambda.")
    ],
    stack: Annotated[str, typer.Option("--stack", envvar="MILEPOST_STACK", help="Name of the stack.")] = "milepost",
    api: Annotated[
        bool, typer.Option("--api", help="Add an HTTP API for event keys, webhooks and apps outside AWS.")
    ] = False,
    python: Annotated[
        str,
        typer.Option(help="Python version of the Lambdas, such as 3.13. Default: the version running this command."),
    ] = "",
    architecture: Annotated[str, typer.Option(help="arm64 or x86_64.")] = "arm64",
    region: Annotated[str, typer.Option("--region", envvar="AWS_REGION", help="AWS region.")] = "",
    profile: Annotated[str, typer.Option("--profile", help="AWS profile.")] = "",
    synth: Annotated[bool, typer.Option("--synth", help="Only write the template, without calling AWS.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before permissions are broadened.")] = False,
) -> None:
    """Deploy a stack with your functions to your AWS account, or update one."""
    with stack_package():
        from milepost_console.stack import deploy as cdk  # noqa: PLC0415 - needs boto3
        from milepost_console.stack.parts import open_session  # noqa: PLC0415 - needs boto3
    for entry in entries:
        if not entry.is_file() or entry.suffix != ".py":
            raise typer.BadParameter(f"{entry} is not a Python file; give the file that defines the App")
    cdk.check_packages()
    cli = cdk.find_cli(shutil.which)
    request = cdk.DeployRequest(stack, tuple(entries), api, python, architecture, region, profile)
    if not synth:
        cdk.check_account(open_session(region, profile))
    words = cdk.command(cli, request, verb="synth" if synth else "deploy", ask=not yes)
    environment = {**os.environ, **({"AWS_REGION": region, "AWS_DEFAULT_REGION": region} if region else {})}
    done = subprocess.run([*words, *(["--quiet"] if synth else [])], env=environment, check=False)  # noqa: S603 - no shell
    if done.returncode != 0:
        raise ClientProblem("MP611", f"The CDK CLI failed with exit code {done.returncode}; its output is above.")
    if not synth:
        where = f" --region {region}" if region else ""
        printer = Printer()
        printer.line()
        printer.line(f"send     milepost send NAME --data '{{}}' --stack {stack}{where}")
        printer.line(f"open     milepost dashboard --stack {stack}{where}")


@with_target
def dashboard(
    *,
    port: Annotated[
        int | None, typer.Option(help="Port. Default: 8288, or the next free port.", min=0, max=65535)
    ] = None,
) -> None:
    """Serve the dashboard of a deployed stack on this machine, using your AWS credentials, until Ctrl-C."""
    client = open_stack_client(current_target())
    from milepost_console.dev.dev_server import StartProblem  # noqa: PLC0415 - other commands start faster
    from milepost_console.stack.serve import serve_stack  # noqa: PLC0415 - needs boto3

    def say(address: str) -> None:
        printer = Printer()
        printer.line(f"stack    {client.parts.name} in {client.parts.region}")
        printer.line(f"open     {address}")
        printer.line(
            "The address contains a key: anyone who has it can act with your AWS credentials. Press Ctrl-C to stop."
        )

    try:
        serve_stack(client.session, client.parts, port=port, say=say)
    except StartProblem as problem:
        raise ClientProblem("MP337", str(problem)) from problem
