"""Commands that only a deployed stack has: `milepost deploy` and `dashboard`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from .client import ClientProblem
from .context import open_stack_client, stack_package
from .target import current_target, placed

__all__ = ["dashboard", "deploy"]


def deploy(
    *,
    entries: Annotated[
        list[Path], typer.Argument(help="Your code: app.py; each file makes one App and is one Lambda.")
    ],
    stack: Annotated[str, typer.Option("--stack", envvar="MILEPOST_STACK", help="Name of the stack.")] = "milepost",
    api: Annotated[
        bool, typer.Option("--api", help="An HTTP API for event keys, webhooks and apps elsewhere.")
    ] = False,
    python: Annotated[
        str, typer.Option(help="Python of the Lambdas, such as 3.13; the one that runs this by default.")
    ] = "",
    architecture: Annotated[str, typer.Option(help="arm64 or x86_64.")] = "arm64",
    region: Annotated[str, typer.Option("--region", envvar="AWS_REGION", help="AWS region.")] = "",
    profile: Annotated[str, typer.Option("--profile", help="AWS profile.")] = "",
    synth: Annotated[bool, typer.Option("--synth", help="Only write the template; asks nothing of AWS.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before permissions grow.")] = False,
) -> None:
    """Deploy a stack with your functions into your AWS account, or bring one up to date."""
    with stack_package():
        from milepost_console.stack import deploy as how  # noqa: PLC0415 - needs boto3
        from milepost_console.stack.parts import open_session  # noqa: PLC0415 - needs boto3
    for entry in entries:
        if not entry.is_file() or entry.suffix != ".py":
            raise typer.BadParameter(f"{entry} is no Python file; give the file that makes the App")
    how.check_packages()
    cli = how.find_cli(shutil.which)
    wish = how.Wish(stack, tuple(entries), api, python, architecture, region, profile)
    if not synth:
        how.check_account(open_session(region, profile))
    words = how.command(cli, wish, verb="synth" if synth else "deploy", ask=not yes)
    environment = {**os.environ, **({"AWS_REGION": region, "AWS_DEFAULT_REGION": region} if region else {})}
    done = subprocess.run([*words, *(["--quiet"] if synth else [])], env=environment, check=False)  # noqa: S603 - no shell
    if done.returncode != 0:
        raise ClientProblem("MP611", f"The CDK CLI failed with exit code {done.returncode}; what it said is above.")
    if not synth:
        where = f" --region {region}" if region else ""
        typer.echo(f"\nsend     milepost send NAME --data '{{}}' --stack {stack}{where}")
        typer.echo(f"look     milepost dashboard --stack {stack}{where}")


@placed
def dashboard(
    *,
    port: Annotated[
        int | None, typer.Option(help="Port; by default 8288, or the next free one.", min=0, max=65535)
    ] = None,
) -> None:
    """Serve the dashboard of a deployed stack on this machine, with your AWS credentials, until Ctrl-C."""
    client = open_stack_client(current_target())
    from milepost_console.dev.dev_server import StartProblem  # noqa: PLC0415 - other commands start faster
    from milepost_console.stack.serve import serve_stack  # noqa: PLC0415 - needs boto3

    def say(address: str) -> None:
        typer.echo(f"stack    {client.parts.name} in {client.parts.region}")
        typer.echo(f"open     {address}")
        typer.echo("The address holds a key: who has it acts with your AWS credentials. Ctrl-C stops.")

    try:
        serve_stack(client.session, client.parts, port=port, say=say)
    except StartProblem as problem:
        raise ClientProblem("MP337", str(problem)) from problem
