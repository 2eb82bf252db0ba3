"""What all commands share: reaching a server, printing, and exit codes.

0 done · 1 failed (refused, or some runs could not be changed) · 2 wrong usage · 3 no server answers
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from milepost.protocol import parse_duration
from milepost_console.dev.terminal import length
from milepost_console.printer import Printer, Styled, cells

from .client import Client, ClientProblem, HttpClient
from .target import StackTarget, current_target

if TYPE_CHECKING:
    from milepost_console.stack.client import StackClient

__all__ = [
    "DONE", "FAILED", "UNREACHABLE", "USAGE", "AsJson", "CommandContext", "FunctionId", "Url", "Yes", "ago",
    "context_of", "counted", "moment", "open_context", "open_stack_client", "read_json", "stack_package",
]  # fmt: skip

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3

DEFAULT_URL: Final = "http://127.0.0.1:8288"
_STYLES: Final = {
    "Completed": "green", "Failed": "red", "Cancelled": "yellow", "Running": "cyan", "Queued": "dim",
    "TimedOut": "yellow", "Vanished": "yellow", "Abandoned": "dim", "Retrying": "yellow", "Sleeping": "blue",
    "Waiting": "blue", "Invoking": "blue", "Planned": "dim",
}  # fmt: skip

Url = Annotated[
    str,
    typer.Option(
        "--url",
        envvar="MILEPOST_URL",
        help="Address of the server. --stack takes precedence.",
        rich_help_panel="Server",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.", rich_help_panel="Output")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def function_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Completion: function ids known to the server; none when no server answers."""
    try:
        listed = HttpClient(ctx.params.get("url") or DEFAULT_URL).get("/functions")["functions"]
    except Exception:  # noqa: BLE001 - completion must stay silent
        return []
    return [str(row["function_id"]) for row in listed if str(row["function_id"]).startswith(incomplete)]


FunctionId = Annotated[
    str,
    typer.Argument(help="Full function id: app and function, such as shop-fulfil-order.", autocompletion=function_ids),
]


@dataclass(frozen=True, slots=True)
class CommandContext:
    """The client and the printer of one command."""

    client: Client
    printer: Printer
    as_json: bool

    def emit(self, value: object) -> None:
        """Print JSON."""
        self.printer.json(value)

    def say(self, text: str, style: str = "") -> None:
        """Print a sentence, unless the command prints JSON. Further lines are indented."""
        if not self.as_json:
            self.printer.line(Styled(text, style, many=True))

    def rows(self, rows: Iterable[Mapping[str, Any]], columns: Sequence[tuple[str, str]], empty: str) -> None:
        """Print a table; `columns` are pairs of heading and key. Ids are never truncated."""
        keys = [key for _, key in columns]
        shown = [cells(row, keys, _STYLES) for row in rows]
        if shown:
            self.printer.table([heading for heading, _ in columns], shown)
        else:
            self.say(empty, "dim")

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask for confirmation. Without a terminal, or with --json, `--yes` is required."""
        if yes:
            return
        if self.as_json or not sys.stdin.isatty():
            raise typer.BadParameter(f"{question} Confirm with --yes.")
        self.printer.confirm(question)

    def run_id(self, text: str) -> str:
        """A run's full id. Its last letters are enough when exactly one of the latest 500 runs ends with them."""
        text = text.strip().upper()
        if len(text) == 26:
            return text
        rows = self.client.get("/runs", {"limit": 500})["runs"]
        found = sorted({str(row["run_id"]) for row in rows if str(row["run_id"]).endswith(text)})
        if len(found) == 1:
            return found[0]
        reason = f"{len(found)} recent runs end with it" if found else "no recent run ends with it"
        raise ClientProblem(
            "MP301", f"{text!r} does not identify a run: {reason}. Give the full id; `milepost runs list` shows them."
        )


def open_context(url: str, as_json: bool) -> CommandContext:
    """The context of one command, for the stack that it names, otherwise for a server."""
    where = current_target()
    if where.stack:
        return context_of(open_stack_client(where), as_json)
    client = HttpClient(url or DEFAULT_URL)
    where.closing.callback(client.close)
    return context_of(client, as_json)


def context_of(client: Client, as_json: bool) -> CommandContext:
    """A context for a client."""
    return CommandContext(client, Printer(), as_json)


def open_stack_client(where: StackTarget) -> StackClient:
    """The client of a stack, closed when the command ends. Raises ClientProblem."""
    if not where.stack:
        raise typer.BadParameter("name the stack: --stack NAME, or MILEPOST_STACK")
    with stack_package():
        from milepost_console.stack.client import StackClient  # noqa: PLC0415 - needs boto3
        from milepost_console.stack.parts import find_stack, open_session  # noqa: PLC0415 - needs boto3
    session = open_session(where.region, where.profile)
    client = StackClient(session, find_stack(session, where.stack))
    where.closing.callback(client.close)
    return client


@contextmanager
def stack_package() -> Iterator[None]:
    """Wraps imports that only stacks need. Raises ClientProblem that says what to install."""
    try:
        yield
    except ModuleNotFoundError as missing:
        raise ClientProblem(
            "MP335", f"Working with a stack needs the package {missing.name!r}: pip install 'milepost[dev,aws]'."
        ) from missing


def read_json(text: str | None, option: str) -> dict[str, Any] | None:
    """A JSON object given as text, as a file (`@data.json`) or on standard input (`-`)."""
    if text is None:
        return None
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except OSError as error:
            raise typer.BadParameter(f"{option}: {error}") from error
    try:
        value = json.loads(text)
    except (RecursionError, ValueError) as error:
        raise typer.BadParameter(f"{option} is not JSON ({error}); quote it like '{{\"id\": 1}}'") from error
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{option} must be a JSON object, such as '{{\"id\": 1}}'")
    return value


def moment(text: str, option: str) -> str:
    """ISO 8601 in UTC for `2h` (that long ago) or an ISO date. Empty stays empty."""
    if not text:
        return ""
    try:
        found = datetime.now(UTC) - parse_duration(text)
    except (OverflowError, ValueError):
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            raise typer.BadParameter(f"{option} {text!r}: give how long ago (30m, 2h, 7d) or a date") from None
    return found.astimezone(UTC).isoformat()


def counted(count: int, noun: str) -> str:
    """A count with its noun: `1 run`, `2 runs`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def ago(text: str | None) -> str:
    """How long ago a time from the API was."""
    if not text:
        return ""
    span = datetime.now(UTC) - datetime.fromisoformat(text)
    return f"{length(max(span, timedelta(0)))} ago"
