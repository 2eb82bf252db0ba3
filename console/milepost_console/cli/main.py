"""The `milepost` command: its subcommands, and how errors are printed."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from milepost import __version__
from milepost_console.printer import Printer, Styled

from .apps import apps
from .client import ClientProblem, Unreachable
from .cloud import dashboard, deploy
from .context import FAILED, UNREACHABLE
from .dead_letters import dead_letters, redrive
from .doctor import doctor
from .erase import erase
from .events import events, send
from .functions import functions
from .logs import logs
from .runs import runs

__all__ = ["cli", "main"]

_USAGE_ERROR: Final[Any] = typer.BadParameter.__bases__[0]
"""Base of all usage errors: click's class, or the copy that typer brings."""


class _Durability(StrEnum):
    """The values of `--durability`; see `milepost_engine.adapters.local.sqlite_file.Durability`."""

    PROCESS = "process"
    POWER = "power"


cli = typer.Typer(
    name="milepost",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Durable functions: serve them on this machine, send events, inspect and control runs.",
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
        Printer().line(f"milepost {__version__}")
        raise typer.Exit


@cli.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Durable functions: serve them on this machine, send events, inspect and control runs."""


@cli.command()
def dev(
    *,
    entries: Annotated[
        list[str] | None, typer.Argument(help="Your code: app.py or package.module:app. Several are served together.")
    ] = None,
    url: Annotated[
        list[str] | None, typer.Option("-u", "--app-url", help="URL of an app that is already served over HTTP.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Anything but loopback is reachable from the network.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="Port. Default: 8288, or the next free port.", min=0, max=65535)
    ] = None,
    db: Annotated[Path | None, typer.Option(help="Data file. Default: dev.db in your state folder.")] = None,
    in_memory: Annotated[
        bool, typer.Option("--in-memory", help="Keep data in memory only; it is lost when the server stops.")
    ] = False,
    reload: Annotated[bool, typer.Option(help="Reload code when a file changes.")] = True,
    poll: Annotated[
        bool, typer.Option(help="Poll HTTP apps and register them again when they change or come back.")
    ] = True,
    show_payloads: Annotated[
        bool, typer.Option("--show-payloads", help="Print the data of events, steps and runs.")
    ] = False,
    concurrency: Annotated[
        int,
        typer.Option(help="Concurrent calls to your code. Default: 64.", min=1, max=1000, show_default=False),
    ] = 64,
    durability: Annotated[
        _Durability,
        typer.Option(help="What accepted work survives: a killed process, or also a power cut."),
    ] = _Durability.PROCESS,
    allow_host: Annotated[list[str] | None, typer.Option(help="Another host name to accept in requests.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each line.")] = False,
) -> None:
    """Serve your functions on this machine. Runs survive a restart and resume where they stopped."""
    from milepost_console.dev.dev_server import DevOptions, StartProblem, run_dev  # noqa: PLC0415 - other commands start faster

    if db is not None and in_memory:
        raise typer.BadParameter("--db and --in-memory exclude each other")
    options = DevOptions(
        entries=tuple(entries or ()),
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
        concurrency=concurrency,
        durability=durability.value,
    )
    try:
        asyncio.run(run_dev(options, Printer()))
    except StartProblem as problem:
        _complain("start", str(problem), as_json=as_json)
        raise typer.Exit(FAILED) from problem


def _complain(code: str, message: str, *, as_json: bool) -> None:
    """Print an error on standard error, as JSON with --json. Codes that are plain words appear in JSON only."""
    if as_json:
        Printer.for_errors().json_text(json.dumps({"code": code, "error": message}))
    else:
        Printer.for_errors().line(Styled(f"error{f' {code}' if code.isupper() else ''}: {message}", many=True))


def _run(given: Sequence[str], *, as_json: bool) -> NoReturn:
    """Run a command; a wrong usage becomes one line, or JSON, in which text from outside is escaped."""
    try:
        if unreadable := next((text for text in given if not _is_text(text)), None):
            raise typer.BadParameter(f"{unreadable!r} is not valid UTF-8")
        code = cli(given, standalone_mode=False)
    except _USAGE_ERROR as wrong:
        _complain_of_usage(wrong, as_json=as_json)
        sys.exit(wrong.exit_code)
    except typer.Abort:
        if not as_json:
            Printer.for_errors().line("Aborted.")
        sys.exit(FAILED)
    sys.exit(code if isinstance(code, int) else 0)


def _complain_of_usage(wrong: Any, *, as_json: bool) -> None:
    message, printer, context = wrong.format_message(), Printer.for_errors(), wrong.ctx
    if not as_json and context is not None:
        if message == context.get_help():  # a group without a command
            printer.line(Styled(message, many=True), indent=0)
            return
        printer.line(context.get_usage())
        printer.line(f"Try '{context.command_path} --help' for help.")
    _complain("usage", message, as_json=as_json)


def _is_text(argument: str) -> bool:
    """Whether an argument was valid UTF-8; Python keeps bytes that were not as lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in argument)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code. Without `arguments`, those of the process are used."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    try:
        _run(given, as_json=as_json)
    except ClientProblem as problem:
        _complain(problem.code, str(problem), as_json=as_json)
        sys.exit(FAILED)
    except Unreachable as problem:
        _complain("unreachable", str(problem), as_json=as_json)
        sys.exit(UNREACHABLE)
    except KeyboardInterrupt:
        sys.exit(130)
