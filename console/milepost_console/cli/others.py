"""`milepost functions …`, `apps …`, `dead-letters …` and `erase`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from .client import ClientProblem
from .context import FAILED, AsJson, CommandContext, FunctionId, Url, Yes, ago, open_context, read_json
from .target import placed

__all__ = ["apps", "dead_letters", "erase", "functions", "redrive"]

AppId = Annotated[str, typer.Argument(help="App id.")]

functions = typer.Typer(no_args_is_help=True, help="See, pause and start functions.")
apps = typer.Typer(no_args_is_help=True, help="See and add apps.")
dead_letters = typer.Typer(no_args_is_help=True, help="Messages that were given up after too many tries.")


@functions.command("list")
@placed
def list_functions(*, url: Url = "", as_json: AsJson = False) -> None:
    """All functions, with the runs of the last 24 hours."""
    context = open_context(url, as_json)
    answer = context.client.get("/functions")
    if as_json:
        context.emit(answer)
        return
    columns = (
        ("FUNCTION", "function_id"), ("TRIGGERS", "on"), ("PAUSED", "paused"), ("DONE", "completed"),
        ("FAILED", "failed"), ("LIVE", "running"), ("P50 MS", "p50_ms"), ("P99 MS", "p99_ms"),
    )  # fmt: skip
    rows = [{**row, **row["stats"], "on": _triggers(row)} for row in answer["functions"]]
    context.rows(rows, columns, "No functions yet. Start the server with your file: milepost dev app.py")


def _triggers(row: Mapping[str, Any]) -> str:
    told = [trigger.get("event") or f"cron {trigger['cron']} {trigger['tz']}" for trigger in row["triggers"]]
    return ", ".join(told) or "only invoked"


@functions.command()
@placed
def pause(*, function_id: FunctionId, url: Url = "", as_json: AsJson = False) -> None:
    """Start no more runs of a function; its live runs go on."""
    _switch(open_context(url, as_json), function_id, "pause", "is paused: events start no runs of it")


@functions.command()
@placed
def resume(*, function_id: FunctionId, url: Url = "", as_json: AsJson = False) -> None:
    """Start runs of a function again. Events that came meanwhile are not made up for."""
    _switch(open_context(url, as_json), function_id, "resume", "is started by events again")


def _switch(context: CommandContext, function_id: str, word: str, told: str) -> None:
    answer = context.client.post(f"/functions/{function_id}/{word}")
    if context.as_json:
        context.emit(answer)
    context.say(f"{function_id} {told}", "green")


@functions.command()
@placed
def trigger(
    *,
    function_id: FunctionId,
    data: Annotated[str | None, typer.Option("--data", "-d", help="JSON object, @file, or -.")] = None,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Start a function by hand, whatever its triggers."""
    context = open_context(url, as_json)
    answer = context.client.post(f"/functions/{function_id}/trigger", {"data": read_json(data, "--data") or {}})
    if as_json:
        context.emit(answer)
        return
    context.say(f"run {answer['run_id']} of {function_id} started", "green")


@apps.command("list")
@placed
def list_apps(*, url: Url = "", as_json: AsJson = False) -> None:
    """All apps and where they are served."""
    context = open_context(url, as_json)
    answer = context.client.get("/apps")
    if as_json:
        context.emit(answer)
        return
    rows = [
        {
            **row,
            "where": f"{row['target']['kind']} {row['target']['address']}",
            "ago": ago(row["synced_at"]),
            "count": len(row["functions"]),
        }
        for row in answer["apps"]
    ]
    columns = (
        ("APP", "app_id"), ("FUNCTIONS", "count"), ("SERVED", "where"), ("SDK", "sdk"), ("REGISTERED", "ago"),
        ("PROBLEM", "error"),
    )  # fmt: skip
    context.rows(rows, columns, "No apps yet.")


@apps.command()
@placed
def add(
    *, app_url: Annotated[str, typer.Argument(help="Where the app is served.")], url: Url = "", as_json: AsJson = False
) -> None:
    """Ask the app at a URL to register."""
    context = open_context(url, as_json)
    app = context.client.post("/apps", {"url": app_url})
    if as_json:
        context.emit(app)
        return
    context.say(f"app {app['app_id']} registered with {len(app['functions'])} functions", "green")


@apps.command()
@placed
def remove(*, app_id: AppId, yes: Yes = False, url: Url = "", as_json: AsJson = False) -> None:
    """Take an app out: events start nothing of it, live runs go on while it answers."""
    context = open_context(url, as_json)
    context.confirm(f"Take app {app_id} out?", yes=yes)
    answer = context.client.delete(f"/apps/{app_id}")
    if as_json:
        context.emit(answer)
    context.say(f"app {app_id} is taken out", "green")


@dead_letters.command("list")
@placed
def list_dead_letters(
    *, limit: Annotated[int, typer.Option(min=1, max=1000)] = 50, url: Url = "", as_json: AsJson = False
) -> None:
    """What was given up, the latest first."""
    context = open_context(url, as_json)
    answer = context.client.get("/dead-letters", {"limit": limit})
    if as_json:
        context.emit(answer)
        return
    # SQS keeps when a message was sent, not when it was given up.
    rows = [{**row, "ago": ago(row["dead_at"] or row["sent_at"])} for row in answer["dead_letters"]]
    columns = (
        ("ID", "id"),
        ("SINCE", "ago"),
        ("TRIES", "receive_count"),
        ("PROBLEM", "problem"),
        ("MESSAGE", "body"),
    )
    context.rows(rows, columns, "Nothing was given up.")


@dead_letters.command()
@placed
def redrive(
    *,
    ids: Annotated[list[str] | None, typer.Argument(help="Their ids; `milepost dead-letters list` shows them.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Deliver given-up messages again, once their cause is mended."""
    if all_ == bool(ids):
        raise typer.BadParameter("give ids, or --all")
    context = open_context(url, as_json)
    chosen = [int(id_) if id_.isdigit() else id_ for id_ in ids or ()]
    answer = context.client.post("/dead-letters/redrive", {"ids": chosen} if chosen else {})
    if as_json:
        context.emit(answer)
    context.say(f"{answer['count']} messages are delivered again", "green")


@placed
def erase(
    *,
    run_ids: Annotated[list[str] | None, typer.Argument(help="Run ids, or their last letters.")] = None,
    event: Annotated[list[str] | None, typer.Option("--event", help="Event id; may be repeated.")] = None,
    with_runs: Annotated[bool, typer.Option("--with-runs", help="The runs of the events, too.")] = False,
    yes: Yes = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Remove ended runs everywhere: records, large values, and the event when no other run has it. For good."""
    if not run_ids and not event:
        raise typer.BadParameter("give run ids, or --event with event ids")
    context = open_context(url, as_json)
    paths = [f"/runs/{context.run_id(text)}" for text in run_ids or ()]
    paths += [f"/events/{text.strip().upper()}" for text in event or ()]
    query = "?runs=true" if with_runs else ""
    context.confirm(f"Erase {len(paths)} for good?", yes=yes)
    done: list[str] = []
    failed: list[dict[str, str]] = []
    for path in paths:
        try:
            context.client.delete(path + (query if path.startswith("/events/") else ""))
            done.append(path.rpartition("/")[2])
        except ClientProblem as problem:
            failed.append({"id": path.rpartition("/")[2], "code": problem.code, "error": str(problem)})
    if as_json:
        context.emit({"done": done, "failed": failed})
    for item in failed:
        context.say(f"{item['id']}: {item['code']} {item['error']}", "red")
    context.say(f"{len(done)} of {len(paths)} erased", "yellow" if failed else "green")
    if failed:
        raise typer.Exit(FAILED)
