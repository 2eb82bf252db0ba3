"""`milepost logs`: what a run's code logged, from a dev server's memory or a stack's CloudWatch logs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from .context import FAILED, AsJson, CommandContext, Url, context_of, open_context, open_stack_client
from .target import StackTarget, current_target, with_target

__all__ = ["logs"]

_STYLES: Final = {"ERROR": "red", "CRITICAL": "red", "WARNING": "yellow", "WARN": "yellow"}
_EMPTY: Final = {
    "memory": "No log output since the dev server started.",
    "elsewhere": "This run's app is served at its own address: its logs are kept where it runs.",
    "cloudwatch": "No log line names this run. Lines arrive up to a minute late and expire with the log.",
}

Line = Mapping[str, Any]


@with_target
def logs(
    *,
    run_id: Annotated[str, typer.Argument(help="Run id, or its last letters.")],
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Print what a run's code logged; for a stack, also what the engine logged about the run."""
    where = current_target()
    if where.stack:
        context, lines, kept = _of_stack(where, run_id, as_json=as_json)
    else:
        context, lines, kept = _of_server(url, run_id, as_json=as_json)
    if as_json:
        context.emit(lines)
        return
    for line in lines:
        context.say(_text(line), _STYLES.get(_level(line), ""))
    if not lines:
        context.say(_EMPTY[kept], "dim")
        raise typer.Exit(FAILED)


def _of_server(url: str, run_id: str, *, as_json: bool) -> tuple[CommandContext, list[Line], str]:
    context = open_context(url, as_json)
    found = context.client.get(f"/runs/{context.run_id(run_id)}/logs")
    if found["cut"]:
        context.say(f"{found['cut']} older lines of this run were dropped.", "yellow")
    lines: list[Line] = [{**line, "message": line["text"]} for line in found["lines"]]
    return context, lines, str(found["kept"])


def _of_stack(where: StackTarget, run_id: str, *, as_json: bool) -> tuple[CommandContext, list[Line], str]:
    """All lines in CloudWatch with every field; the API returns fewer to the dashboard."""
    client = open_stack_client(where)
    context = context_of(client, as_json)
    from milepost_console.stack.logs import log_group_of, run_log  # noqa: PLC0415 - needs boto3

    run = client.get(f"/runs/{context.run_id(run_id)}")
    targets = [app["target"] for app in client.get("/apps")["apps"] if app["app_id"] == run["app_id"]]
    groups = [log_group_of(client.session, target["address"]) for target in targets if target["kind"] == "lambda"]
    found = run_log(client.session, client.parts, run, groups, datetime.now(UTC))
    lines: list[Line] = [{**line.fields, "at": line.at.isoformat(), "log_group": line.log_group} for line in found]
    return context, lines, "cloudwatch"


def _level(line: Line) -> str:
    return str(line.get("level") or line.get("log_level") or "")


def _text(line: Line) -> str:
    """Time, level, step and attempt, message."""
    step, attempt = line.get("step"), line.get("attempt")
    where = f"[{step}{f' #{attempt}' if attempt else ''}] " if step else ""
    error = line.get("error") or line.get("exception") or ""
    message = line.get("message", "")
    shown = message if isinstance(message, str) else json.dumps(message)
    at = datetime.fromisoformat(str(line["at"]))
    return f"{at:%H:%M:%S.%f}"[:-3] + f" {_level(line):<7} {where}{shown}{f'  {error}' if error else ''}"
