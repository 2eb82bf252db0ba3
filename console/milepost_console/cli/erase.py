"""`milepost erase`: removes ended runs and events."""

from __future__ import annotations

from typing import Annotated

import typer

from .client import ClientProblem
from .context import FAILED, AsJson, Url, Yes, counted, open_context
from .target import with_target

__all__ = ["erase"]


@with_target
def erase(
    *,
    run_ids: Annotated[list[str] | None, typer.Argument(help="Run ids, or their last letters.")] = None,
    event: Annotated[list[str] | None, typer.Option("--event", help="Event id; may be repeated.")] = None,
    with_runs: Annotated[bool, typer.Option("--with-runs", help="Also erase the runs of the events.")] = False,
    yes: Yes = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Permanently erase ended runs: records, large values, and the event unless another run has it."""
    if not run_ids and not event:
        raise typer.BadParameter("give run ids, or --event with event ids")
    context = open_context(url, as_json)
    paths = [f"/runs/{context.run_id(text)}" for text in run_ids or ()]
    paths += [f"/events/{text.strip().upper()}" for text in event or ()]
    query = "?runs=true" if with_runs else ""
    chosen = {"run": len(run_ids or ()), "event": len(event or ())}
    named = " and ".join(counted(count, noun) for noun, count in chosen.items() if count)
    context.confirm(f"Permanently erase {named}?", yes=yes)
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
