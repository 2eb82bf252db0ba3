"""`milepost runs …`: list, show, cancel, replay."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Final

import typer

from milepost_console.dev.event_word import event_word
from milepost_console.dev.terminal import length
from milepost_console.printer import Printer, Styled
from milepost_engine.core.run import Outcome, RunStatus

from .context import (
    DONE,
    FAILED,
    AsJson,
    CommandContext,
    Url,
    Yes,
    ago,
    counted,
    function_ids,
    moment,
    open_context,
    read_json,
)
from .target import with_target

__all__ = ["runs"]

runs = typer.Typer(no_args_is_help=True, help="List, show, cancel and replay runs.")

CHUNK: Final = 50
_CANCELLED: Final = {
    Outcome.API.value: "by hand",
    Outcome.EVENT.value: "by an event",
    Outcome.START_TIMEOUT.value: "it was queued longer than its start timeout",
    Outcome.FINISH_TIMEOUT.value: "it took longer than its finish timeout",
    Outcome.PARENT.value: "together with the run that invoked it",
}
_COLUMNS: Final = (
    ("RUN", "run_id"), ("FUNCTION", "function_id"), ("STATUS", "status"), ("EVENT", "event_name"), ("QUEUED", "ago"),
    ("TOOK", "took"),
)  # fmt: skip


def _statuses(incomplete: str) -> list[str]:
    """Completion: run statuses."""
    return [status.value for status in RunStatus if status.value.startswith(incomplete)]


Functions = Annotated[
    list[str] | None,
    typer.Option("--function", help="Full function id; may be repeated.", autocompletion=function_ids),
]
Statuses = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        help="Queued, Running, Completed, Failed or Cancelled; may be repeated.",
        autocompletion=_statuses,
    ),
]
App = Annotated[str, typer.Option("--app", help="App id.")]
EventName = Annotated[str, typer.Option("--event", help="Name of the event that started the run.")]
Since = Annotated[str, typer.Option("--since", help="Queued since: how long ago (30m, 2h, 7d), or a date.")]
Until = Annotated[str, typer.Option("--until", help="Queued until; same format as --since.")]
Words = Annotated[str, typer.Option("--search", "-q", help="Text in ids and event data, or 'cel:<expression>'.")]
RunIds = Annotated[list[str] | None, typer.Argument(help="Run ids, or their last letters.")]
All = Annotated[bool, typer.Option("--all", help="All runs that match the options, instead of ids.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only list the runs.")]


def _filter(
    function: Sequence[str] | None, status: Sequence[str] | None, app: str, event: str, since: str, until: str, q: str
) -> dict[str, Any]:
    given: dict[str, Any] = {
        "function": list(function or ()),
        "status": [word.capitalize() for word in status or ()],
        "app": app,
        "event": event,
        "since": moment(since, "--since"),
        "until": moment(until, "--until"),
        "q": q,
    }
    return {key: value for key, value in given.items() if value}


@runs.command("list")
@with_target
def list_(
    *,
    function: Functions = None,
    status: Statuses = None,
    app: App = "",
    event: EventName = "",
    since: Since = "",
    until: Until = "",
    search: Words = "",
    limit: Annotated[int, typer.Option(min=1, max=500)] = 20,
    after: Annotated[str, typer.Option(help="Continue after this value, which the previous page printed.")] = "",
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    context = open_context(url, as_json)
    fields = _filter(function, status, app, event, since, until, search)
    page = context.client.get("/runs", {**fields, "limit": limit, "after": after})
    if as_json:
        context.emit(page)
        return
    context.rows(
        [_row(row) for row in page["runs"]], _COLUMNS, "No runs yet. Send an event: milepost send NAME --data '{}'"
    )
    if page["next"]:
        context.say(f"more: --after {shlex.quote(page['next'])}", "dim")


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    took = row["duration_ms"]
    event_name = event_word(row["event_name"])
    took_text = "" if took is None else length(timedelta(milliseconds=took))
    return {**row, "event_name": event_name, "ago": ago(row["queued_at"]), "took": took_text}


@runs.command()
@with_target
def show(
    *,
    run_id: Annotated[str, typer.Argument(help="Run id, or its last letters.")],
    full: Annotated[bool, typer.Option("--full", help="Print complete outputs and tracebacks.")] = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Show a run: its steps with every attempt, its event and its output."""
    context = open_context(url, as_json)
    run = context.client.get(f"/runs/{context.run_id(run_id)}")
    if as_json:
        context.emit(run)
        return
    _print_run(context, run, full=full)


def _print_run(context: CommandContext, run: Mapping[str, Any], *, full: bool) -> None:
    took = "" if run["duration_ms"] is None else f" after {length(timedelta(milliseconds=run['duration_ms']))}"
    facts = [
        ("run", run["run_id"]),
        ("function", f"{run['function_id']}{_named(run)}"),
        ("app", " version ".join(filter(None, (run["app_id"], run["app_version"])))),
        ("status", f"{run['status']}{took if run['ended_at'] else ''}"),
        ("queued", f"{run['queued_at']}  ({ago(run['queued_at'])})"),
        ("event", f"{event_word(run['event_name'])}  {run['event_id']}"),
        ("data", _json((run["event"] or {}).get("data"), full=full)),
    ]
    if run["origin_run_id"]:
        facts.append(("replay of", run["origin_run_id"]))
    if run["parent"]:
        facts.append(("invoked by", run["parent"]["run_id"]))
    if run["replays"]:
        facts.append(("replays", ", ".join(row["run_id"] for row in run["replays"])))
    for name, value in facts:
        context.printer.line(Styled(name, "dim", 11), str(value))
    context.printer.line()
    rows = [row for span in run["trace"] for row in _span_rows(span, full=full)]
    context.rows(
        rows,
        (("STEP", "step"), ("KIND", "kind"), ("STATUS", "status"), ("TOOK", "took"), ("", "note")),
        "No steps yet.",
    )
    context.printer.line()
    if run["status"] == RunStatus.CANCELLED:
        reason = (run["error"] or {}).get("reason")
        context.say(
            f"cancelled  {_CANCELLED.get(run['outcome'], run['outcome'])}{f': {reason}' if reason else ''}", "yellow"
        )
    elif run["error"]:
        context.say(f"error      {_error(run['error'], full=full)}", "red")
    elif run["ended_at"]:
        context.say(f"output     {_json(run['output'], full=full)}")


def _named(run: Mapping[str, Any]) -> str:
    return f"  ({run['function_name']})" if run["function_name"] else ""


def _span_rows(span: Mapping[str, Any], *, full: bool) -> list[dict[str, Any]]:
    """A row for the step, followed by one for each attempt if it failed or was retried."""
    took = span["duration_ms"]
    rows = [
        {
            "step": span["name"],
            "kind": span["kind"],
            "status": span["status"],
            "took": "" if took is None else length(timedelta(milliseconds=took)),
            "note": Styled(_note(span, full=full), many=full),
        }
    ]
    attempts = span["attempts"]
    if len(attempts) > 1 or (attempts and attempts[0]["status"] == "Failed"):
        rows += [
            {
                "step": f"  attempt {tried['attempt'] + 1}",
                "kind": "",
                "status": tried["status"],
                "took": length(timedelta(milliseconds=tried["duration_ms"])),
                "note": Styled(_error(tried["error"], full=full) if tried["error"] else "", many=full),
            }
            for tried in attempts
        ]
    return rows


def _note(span: Mapping[str, Any], *, full: bool) -> str:
    if span.get("kept"):
        return f"kept from the replayed run: {_json(span['output'], full=full)}"
    if span["error"] and len(span["attempts"]) != 1:
        return _error(span["error"], full=full)
    if span["next_try_at"]:
        return f"next attempt at {span['next_try_at']}"
    if span["ended_at"] is None and span["due_at"]:
        wait = span.get("wait")
        what = f"for {wait['event']} " if wait else ""
        return f"{what}until {span['due_at']}"
    return _json(span["output"], full=full) if span["output"] is not None else ""


def _json(value: object, *, full: bool) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if full or len(text) <= 100 else text[:100] + "…"


def _error(error: Mapping[str, Any], *, full: bool) -> str:
    line = f"{error.get('name', 'Error')}: {error.get('message', '')}"
    stack = str(error.get("stack") or "")
    return f"{line}\n{stack}" if full and stack else line.replace("\n", " ")[:200]


@runs.command()
@with_target
def cancel(
    *,
    run_ids: RunIds = None,
    all_: All = False,
    function: Functions = None,
    status: Statuses = None,
    app: App = "",
    event: EventName = "",
    since: Since = "",
    until: Until = "",
    search: Words = "",
    reason: Annotated[str, typer.Option(help="Reason, stored with the run.")] = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Cancel runs. Each stops before its next step starts."""
    context = open_context(url, as_json)
    fields = _filter(function, status, app, event, since, until, search)
    chosen = _choose(context, "cancel", run_ids, fields, all_=all_)
    _do(context, "cancel", chosen, {"reason": reason}, dry_run=dry_run, yes=yes or not all_)


@runs.command()
@with_target
def replay(
    *,
    run_ids: RunIds = None,
    from_step: Annotated[
        str | None, typer.Option("--from-step", help="Keep the results of earlier steps and rerun from this one.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Replacement for the event's data: JSON, @file or -.")
    ] = None,
    all_: All = False,
    function: Functions = None,
    status: Statuses = None,
    app: App = "",
    event: EventName = "",
    since: Since = "",
    until: Until = "",
    search: Words = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Replay runs as new ones: from the start, with edited data, or from a step."""
    context = open_context(url, as_json)
    fields = _filter(function, status, app, event, since, until, search)
    chosen = _choose(context, "replay", run_ids, fields, all_=all_)
    how = {"from_step": from_step, "data": read_json(data, "--data")}
    _do(
        context,
        "replay",
        chosen,
        {key: value for key, value in how.items() if value is not None},
        dry_run=dry_run,
        yes=yes or not all_,
    )


def _choose(
    context: CommandContext, action: str, run_ids: Sequence[str] | None, fields: Mapping[str, Any], *, all_: bool
) -> list[str]:
    """The chosen runs: by id, or with --all by the other options."""
    if all_ == bool(run_ids):
        raise typer.BadParameter("give run ids, or --all with --status, --function, --since …, but not both")
    if run_ids:
        if fields:
            raise typer.BadParameter(
                f"{', '.join('--' + name for name in fields)} can only be used together with --all"
            )
        return [context.run_id(text) for text in run_ids]
    answer = context.client.post("/runs/bulk", {"action": action, "filter": dict(fields), "dry_run": True})
    return [str(run_id) for run_id in answer["run_ids"]]


def _do(
    context: CommandContext, action: str, chosen: Sequence[str], how: Mapping[str, Any], *, dry_run: bool, yes: bool
) -> None:
    """Cancel or replay in chunks, showing progress. Exit code 1 when some runs could not be changed."""
    if dry_run:
        if context.as_json:
            context.emit({"count": len(chosen), "run_ids": list(chosen)})
        for run_id in chosen:
            context.say(run_id)
        context.say(f"{counted(len(chosen), 'run')} would be {_PAST[action]}")
        raise typer.Exit(DONE)
    if chosen:
        context.confirm(f"{action.capitalize()} {counted(len(chosen), 'run')}?", yes=yes)
    done: list[str] = []
    failed: list[dict[str, str]] = []
    hidden = context.as_json or len(chosen) <= CHUNK
    with Printer.for_errors().progress(action, len(chosen), hidden=hidden) as advance:
        for start in range(0, len(chosen), CHUNK):
            part = list(chosen[start : start + CHUNK])
            answer = context.client.post("/runs/bulk", {"action": action, "run_ids": part, **how})
            done += answer["done"]
            failed += answer["failed"]
            advance(len(part))
    if context.as_json:
        context.emit({"count": len(chosen), "done": done, "failed": failed})
    for problem in failed:
        context.say(f"{problem['run_id']}: {problem['code']} {problem['error']}", "red")
    if action == "replay" and len(done) <= CHUNK:
        for run_id in done:
            context.say(run_id)
    context.say(f"{len(done)} of {len(chosen)} runs {_PAST[action]}", "green" if not failed else "yellow")
    raise typer.Exit(FAILED if failed else DONE)


_PAST: Final = {"cancel": "cancelled", "replay": "replayed"}
