"""`milepost functions …`: list, pause, resume, trigger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from milepost_console.dev.event_word import event_word

from .context import AsJson, CommandContext, FunctionId, Url, moment, open_context, read_json
from .target import with_target

__all__ = ["functions"]

functions = typer.Typer(no_args_is_help=True, help="List, pause, resume and start functions.")


@functions.command("list")
@with_target
def list_(*, url: Url = "", as_json: AsJson = False) -> None:
    """List all functions with their runs of the last 24 hours."""
    context = open_context(url, as_json)
    answer = context.client.get("/functions")
    if as_json:
        context.emit(answer)
        return
    columns = (
        ("FUNCTION", "function_id"), ("NAME", "own_name"), ("TRIGGERS", "on"), ("PAUSED", "paused"),
        ("DONE", "completed"), ("FAILED", "failed"), ("LIVE", "running"), ("P50 MS", "p50_ms"), ("P99 MS", "p99_ms"),
    )  # fmt: skip
    rows = [{**row, **row["stats"], "on": _triggers(row)} for row in answer["functions"]]
    context.rows(rows, columns, "No functions yet. Start the server with your file: milepost dev app.py")


def _triggers(row: Mapping[str, Any]) -> str:
    shown = [
        event_word(trigger["event"]) if trigger.get("event") else f"cron {trigger['cron']} {trigger['tz']}"
        for trigger in row["triggers"]
    ]
    return ", ".join(shown) or "invoked only"


@functions.command()
@with_target
def pause(*, function_id: FunctionId, url: Url = "", as_json: AsJson = False) -> None:
    """Stop starting runs of a function; its live runs continue."""
    _switch(open_context(url, as_json), function_id, "pause", "is paused: events start no runs of it")


@functions.command()
@with_target
def resume(*, function_id: FunctionId, url: Url = "", as_json: AsJson = False) -> None:
    """Start runs of a function again. Events received while it was paused start nothing."""
    _switch(open_context(url, as_json), function_id, "resume", "is resumed: events start runs of it again")


def _switch(context: CommandContext, function_id: str, action: str, outcome: str) -> None:
    answer = context.client.post(f"/functions/{function_id}/{action}")
    if context.as_json:
        context.emit(answer)
    context.say(f"{function_id} {outcome}", "green")


@functions.command()
@with_target
def trigger(
    *,
    function_id: FunctionId,
    data: Annotated[str | None, typer.Option("--data", "-d", help="JSON object, @file, or -.")] = None,
    at: Annotated[
        str, typer.Option("--at", help="When the tick of a cron function was due: how long ago (2h), or a date.")
    ] = "",
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Run a function by hand, whatever its triggers. A function with a cron line gets a tick in `ctx.cron`."""
    context = open_context(url, as_json)
    body = {"data": read_json(data, "--data") or {}, **({"at": moment(at, "--at")} if at else {})}
    answer = context.client.post(f"/functions/{function_id}/trigger", body)
    if as_json:
        context.emit(answer)
        return
    context.say(f"run {answer['run_id']} of {function_id} started", "green")
