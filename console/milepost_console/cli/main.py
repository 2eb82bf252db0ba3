"""The `milepost` command: its commands, and what errors become."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console

from milepost import __version__

from .client import ClientProblem, Unreachable
from .cloud import dashboard, deploy
from .context import FAILED, UNREACHABLE
from .doctor import doctor
from .events import events, send
from .logs import logs
from .others import apps, dead_letters, erase, functions, redrive
from .runs import runs

__all__ = ["cli", "main"]

_USAGE_ERROR: Final[Any] = typer.BadParameter.__bases__[0]
"""What all wrong usage raises: click's class, or the one that typer carries along."""

cli = typer.Typer(
    name="milepost",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Durable functions: serve them on this machine, send events, see and steer runs.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no server answers.",
)
cli.command("send")(send)
cli.add_typer(runs, name="runs")
cli.add_typer(events, name="events")
cli.add_typer(functions, name="functions")
cli.add_typer(apps, name="apps")
cli.add_typer(dead_letters, name="dead-letters")
cli.command("redrive")(redrive)
cli.command("erase")(erase)
cli.command("doctor")(doctor)
cli.command("deploy")(deploy)
cli.command("dashboard")(dashboard)
cli.command("logs")(logs)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"milepost {__version__}")
        raise typer.Exit


@cli.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """Durable functions: serve them on this machine, send events, see and steer runs."""


@cli.command()
def dev(
    *,
    places: Annotated[
        list[str] | None, typer.Argument(help="Your code: app.py, or package.module:app; several are served together.")
    ] = None,
    url: Annotated[
        list[str] | None, typer.Option("-u", "--app-url", help="An app that serves itself over HTTP.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback can be reached by anyone.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="Port; by default 8288, or the next free one.", min=0, max=65535)
    ] = None,
    db: Annotated[Path | None, typer.Option(help="Data file; by default dev.db in your state folder.")] = None,
    in_memory: Annotated[bool, typer.Option("--in-memory", help="Keep nothing when the server ends.")] = False,
    reload: Annotated[bool, typer.Option(help="Serve code anew when a file changes.")] = True,
    poll: Annotated[
        bool, typer.Option(help="Look after HTTP apps: register them again when they change or come back.")
    ] = True,
    show_payloads: Annotated[
        bool, typer.Option("--show-payloads", help="Print data of events, steps and runs.")
    ] = False,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Another name that the server may be asked for by.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each line.")] = False,
) -> None:
    """Serve your functions on this machine. Killed and started again, every run goes on where it was."""
    from milepost_console.dev.dev_server import DevOptions, StartProblem, run_dev  # noqa: PLC0415 - other commands start faster

    if db is not None and in_memory:
        raise typer.BadParameter("--db and --in-memory exclude each other")
    options = DevOptions(
        places=tuple(places or ()),
        urls=tuple(url or ()),
        host=host,
        port=port,
        db=db,
        in_memory=in_memory,
        reload=reload,
        poll=poll,
        json_lines=as_json,
        show_payloads=show_payloads,
        allowed_hosts=tuple(allow_host or ()),
    )
    try:
        asyncio.run(run_dev(options, Console()))
    except StartProblem as problem:
        _complain("start", str(problem), as_json=as_json)
        raise typer.Exit(FAILED) from problem


def _complain(code: str, message: str, *, as_json: bool) -> None:
    """One sentence on standard error; JSON where JSON was asked for. A code that is a word is for programs alone."""
    if as_json:
        sys.stderr.write(json.dumps({"code": code, "error": message}) + "\n")
    else:
        sys.stderr.write(f"error{f' {code}' if code.isupper() else ''}: {message}\n")


def _run_for_programs(given: Sequence[str]) -> NoReturn:
    """Run a command; what is wrong with its arguments is told as JSON, too."""
    try:
        code = cli(given, standalone_mode=False)
    except _USAGE_ERROR as wrong:
        _complain("usage", wrong.format_message(), as_json=True)
        sys.exit(wrong.exit_code)
    except typer.Abort:
        sys.exit(FAILED)
    sys.exit(code if isinstance(code, int) else 0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code; the arguments are the process's own if none are given."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    try:
        if as_json:
            _run_for_programs(given)
        cli(given)
    except ClientProblem as problem:
        _complain(problem.code, str(problem), as_json=as_json)
        sys.exit(FAILED)
    except Unreachable as problem:
        _complain("unreachable", str(problem), as_json=as_json)
        sys.exit(UNREACHABLE)
    except KeyboardInterrupt:
        sys.exit(130)
