"""`milepost doctor`: checks the setup, and says what is wrong and how to fix it."""

from __future__ import annotations

import os
import shlex
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from milepost import __version__
from milepost_console.dev.local import default_file

from .client import Client, ClientProblem, Unreachable
from .context import FAILED, UNREACHABLE, AsJson, Url, counted, open_context
from .target import with_target

__all__ = ["Finding", "doctor", "examine"]

_OLDEST_PYTHON = (3, 11)
_OLDEST_SQLITE = (3, 35)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `advice` says what to do, if anything."""

    what: str
    seen: str
    ok: bool
    advice: str = ""


@with_target
def doctor(*, url: Url = "", as_json: AsJson = False) -> None:
    """Check this machine and the server. Exit code 1 when something is wrong, 3 when no server answers."""
    context = open_context(url, as_json)
    findings = [*_machine(), *examine(context.client)]
    if as_json:
        context.emit({"findings": [asdict(finding) for finding in findings]})
    for finding in findings:
        context.say(
            f"{'ok   ' if finding.ok else 'WRONG'}  {finding.what:<18} {finding.seen}", "" if finding.ok else "red"
        )
        if finding.advice:
            context.say(f"       {'':<18} → {finding.advice}", "yellow")
    wrong = [finding for finding in findings if not finding.ok]
    if any(finding.what == "server" for finding in wrong):
        raise typer.Exit(UNREACHABLE)
    if wrong:
        raise typer.Exit(FAILED)


def _machine() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info < _OLDEST_PYTHON
    yield Finding("python", f"{version}, milepost {__version__}", not old, "use Python 3.11 or newer" if old else "")
    sqlite = tuple(map(int, sqlite3.sqlite_version.split(".")))
    advice = "" if sqlite >= _OLDEST_SQLITE else "use a Python with SQLite 3.35 or newer"
    yield Finding("sqlite", sqlite3.sqlite_version, not advice, advice)
    file = default_file(os.environ, Path.home())
    folder = next(parent for parent in file.parents if parent.exists())
    writable = os.access(folder, os.W_OK)
    yield Finding("data file", str(file), writable, "" if writable else f"make {folder} writable, or use --db FILE")
    set_ = [name for name in sorted(os.environ) if name.startswith("MILEPOST_")]
    # Names only: some of the values are keys.
    yield Finding("environment", ", ".join(set_) or "no MILEPOST_ variables", ok=True)
    if "MILEPOST_SIGNING_KEY" in os.environ and "MILEPOST_DEV" in os.environ:
        seen = "not checked: MILEPOST_DEV disables signature checks although MILEPOST_SIGNING_KEY is set"
        yield Finding("signatures", seen, ok=True, advice="unset MILEPOST_DEV except on a development machine")


def examine(client: Client) -> Iterator[Finding]:
    """What a server reports about itself."""
    try:
        info = client.get("/info")
    except Unreachable as error:
        yield Finding("server", "does not answer", ok=False, advice=str(error))
        return
    except ClientProblem as error:
        yield Finding("server", f"refuses ({error})", ok=False, advice="check that --url is a Milepost server")
        return
    same = info["version"] == __version__
    advice = "" if same else f"this command is version {__version__}: use the same version on both sides"
    yield Finding("server", f"{info['mode']}, milepost {info['version']}", same, advice)
    checks: tuple[Callable[[Client], Iterator[Finding]], ...] = (_apps, _functions, _dead)
    for check in checks:
        yield from check(client)


def _apps(client: Client) -> Iterator[Finding]:
    listed = client.get("/apps")["apps"]
    if not listed:
        yield Finding("apps", "none", ok=False, advice="serve one: milepost dev app.py, or -u http://…")
    for app in listed:
        where = f"{app['target']['kind']} {app['target']['address']}, {counted(len(app['functions']), 'function')}"
        yield Finding(f"app {app['app_id']}", where, not app["error"], app["error"])


def _functions(client: Client) -> Iterator[Finding]:
    for function in client.get("/functions")["functions"]:
        stats = function["stats"]
        failed, done = stats["failed"], stats["completed"]
        if function["paused"]:
            advice = f"milepost functions resume {shlex.quote(function['function_id'])}"
            yield Finding("paused", function["function_id"], ok=True, advice=advice)
        if failed > max(done, 2):
            seen = f"{function['function_id']}: {failed} of {failed + done} runs failed in the last day"
            advice = f"milepost runs list --status failed --function {shlex.quote(function['function_id'])}"
            yield Finding("failing", seen, ok=False, advice=advice)


def _dead(client: Client) -> Iterator[Finding]:
    if not client.get("/info")["can"].get("dead_letters"):
        return
    count = len(client.get("/dead-letters", {"limit": 1000})["dead_letters"])
    advice = "milepost dead-letters list, fix the cause, then milepost dead-letters redrive --all" if count else ""
    yield Finding("dead letters", str(count), not count, advice)
