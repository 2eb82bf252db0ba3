"""`milepost send` and `milepost events …`."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from milepost_console.dev.event_word import event_word
from milepost_engine.store.skipped import EVERY_FUNCTION

from .client import ClientProblem
from .context import DONE, FAILED, AsJson, CommandContext, Url, ago, open_context, read_json
from .target import with_target

__all__ = ["events", "send"]

events = typer.Typer(no_args_is_help=True, help="List, show and send events.")

POLL_SECONDS: Final = 0.2
_LIVE: Final = frozenset({"Queued", "Running"})


@events.command("list")
@with_target
def list_(
    *,
    name: Annotated[list[str] | None, typer.Option("--name", help="Event name; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 20,
    after: Annotated[str, typer.Option(help="Continue after this value, which the previous page printed.")] = "",
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """List events, newest first."""
    context = open_context(url, as_json)
    page = context.client.get("/events", {"name": name or [], "limit": limit, "after": after})
    if as_json:
        context.emit(page)
        return
    rows = [{**row, "name": event_word(row["name"]), "ago": ago(row["received_at"])} for row in page["events"]]
    context.rows(rows, (("EVENT", "event_id"), ("NAME", "name"), ("RECEIVED", "ago")), "No events yet.")
    if page["next"]:
        context.say(f"more: --after {shlex.quote(page['next'])}", "dim")


@events.command()
@with_target
def show(*, event_id: Annotated[str, typer.Argument(help="Event id.")], url: Url = "", as_json: AsJson = False) -> None:
    """Show an event: its data, the runs it started, and the functions it skipped, with the reason."""
    context = open_context(url, as_json)
    event = context.client.get(f"/events/{event_id.strip().upper()}")
    if as_json:
        context.emit(event)
        return
    context.say(f"event      {event['event_id']}")
    context.say(f"name       {event_word(event['name'])}")
    context.say(f"id         {event['id']}")
    context.say(f"received   {event['received_at']}  ({ago(event['received_at'])})")
    context.emit(event["data"])
    columns = (("RUN", "run_id"), ("FUNCTION", "function_id"), ("STATUS", "status"))
    context.rows(event["runs"], columns, "It started no runs.")
    for function_id, why in event["skipped"].items():
        skipped = "every function" if function_id == EVERY_FUNCTION else function_id
        context.say(f"skipped    {skipped}: {why}", "yellow")


@events.command("send")
@with_target
def send(
    *,
    name: Annotated[str, typer.Argument(help="Event name, such as order/created.")],
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="JSON object, @file, or - for standard input.")
    ] = None,
    id_: Annotated[
        str, typer.Option("--id", help="Event id: within 24 hours an id starts each function at most once.")
    ] = "",
    at: Annotated[str, typer.Option("--at", help="Start the runs at this time (ISO date and time).")] = "",
    wait: Annotated[float, typer.Option("--wait", help="Seconds to wait for its runs to end.")] = 0,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Send an event. With --wait, the exit code is 1 unless every run it started has completed."""
    context = open_context(url, as_json)
    event: dict[str, Any] = {"name": name, "data": read_json(data, "--data") or {}}
    if id_:
        event["id"] = id_
    if at:
        event["ts"] = _milliseconds(at)
    [event_id] = context.client.send([event])
    if wait > 0:
        _wait(context, event_id, wait)
        return
    if as_json:
        context.emit({"ids": [event_id]})
        return
    context.say(f"sent {name} as {event_id}", "green")


def _milliseconds(text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"--at {text!r} is not a date; write it like 2026-01-31T08:00:00Z") from None
    return round((found if found.tzinfo else found.astimezone()).astimezone(UTC).timestamp() * 1000)


def _wait(context: CommandContext, event_id: str, seconds: float) -> None:
    """Wait for the runs of an event to end."""
    until = time.monotonic() + seconds
    event: Mapping[str, Any] = {"started": None, "runs": []}
    while True:
        event = _find(context, event_id) or event
        ended = all(row["status"] not in _LIVE for row in event["runs"])
        # Runs appear shortly after their event.
        complete = event["started"] is not None and len(event["runs"]) >= len(event["started"])
        if (ended and complete) or time.monotonic() >= until:
            break
        time.sleep(POLL_SECONDS)
    done = ended and complete
    if context.as_json:
        context.emit({"ids": [event_id], "runs": event["runs"], "waited_out": not done})
    else:
        columns = (("RUN", "run_id"), ("FUNCTION", "function_id"), ("STATUS", "status"))
        context.rows(event["runs"], columns, "It started no runs.")
        if not done:
            context.say(f"not ended within {seconds:g} s; check again with: milepost events show {event_id}", "yellow")
    succeeded = done and all(row["status"] == "Completed" for row in event["runs"])
    raise typer.Exit(DONE if succeeded else FAILED)


def _find(context: CommandContext, event_id: str) -> Mapping[str, Any] | None:
    """The event, once the engine has processed it."""
    try:
        return context.client.get(f"/events/{event_id}")
    except ClientProblem as problem:
        if problem.code == "MP306":
            return None
        raise
