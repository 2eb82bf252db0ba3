"""`milepost dead-letters …` and `milepost redrive`."""

from __future__ import annotations

from typing import Annotated

import typer

from .context import AsJson, Url, ago, counted, open_context
from .target import with_target

__all__ = ["dead_letters", "redrive"]

dead_letters = typer.Typer(no_args_is_help=True, help="Messages that failed too often and were set aside.")


@dead_letters.command("list")
@with_target
def list_(*, limit: Annotated[int, typer.Option(min=1, max=1000)] = 50, url: Url = "", as_json: AsJson = False) -> None:
    """List dead letters, latest first."""
    context = open_context(url, as_json)
    answer = context.client.get("/dead-letters", {"limit": limit})
    if as_json:
        context.emit(answer)
        return
    # SQS records when a message was sent, not when it became a dead letter.
    rows = [{**row, "ago": ago(row["dead_at"] or row["sent_at"])} for row in answer["dead_letters"]]
    columns = (
        ("ID", "id"),
        ("SINCE", "ago"),
        ("TRIES", "receive_count"),
        ("PROBLEM", "problem"),
        ("MESSAGE", "body"),
    )
    context.rows(rows, columns, "No dead letters.")


@dead_letters.command()
@with_target
def redrive(
    *,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids from `milepost dead-letters list`.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every dead letter.")] = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Deliver dead letters again, once their cause is fixed."""
    if all_ == bool(ids):
        raise typer.BadParameter("give ids, or --all")
    context = open_context(url, as_json)
    chosen = [int(id_) if id_.isdigit() else id_ for id_ in ids or ()]
    answer = context.client.post("/dead-letters/redrive", {"ids": chosen} if chosen else {})
    if as_json:
        context.emit(answer)
    context.say(f"{counted(answer['count'], 'message')} redriven", "green")
