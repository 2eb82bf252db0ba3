"""`milepost apps …`: list, add, remove."""

from __future__ import annotations

from typing import Annotated

import typer

from .context import AsJson, Url, Yes, ago, counted, open_context
from .target import with_target

__all__ = ["apps"]

AppId = Annotated[str, typer.Argument(help="App id.")]

apps = typer.Typer(no_args_is_help=True, help="List, add and remove apps.")


@apps.command("list")
@with_target
def list_(*, url: Url = "", as_json: AsJson = False) -> None:
    """List all apps and where they are served."""
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
        ("APP", "app_id"), ("VERSION", "app_version"), ("FUNCTIONS", "count"), ("SERVED", "where"), ("SDK", "sdk"),
        ("REGISTERED", "ago"), ("PROBLEM", "error"),
    )  # fmt: skip
    context.rows(rows, columns, "No apps yet.")


@apps.command()
@with_target
def add(
    *, app_url: Annotated[str, typer.Argument(help="URL of the app.")], url: Url = "", as_json: AsJson = False
) -> None:
    """Ask the app at a URL to register."""
    context = open_context(url, as_json)
    app = context.client.post("/apps", {"url": app_url})
    if as_json:
        context.emit(app)
        return
    context.say(f"app {app['app_id']} registered with {counted(len(app['functions']), 'function')}", "green")


@apps.command()
@with_target
def remove(*, app_id: AppId, yes: Yes = False, url: Url = "", as_json: AsJson = False) -> None:
    """Remove an app: events no longer start its functions; live runs continue while the app answers."""
    context = open_context(url, as_json)
    context.confirm(f"Remove app {app_id}?", yes=yes)
    answer = context.client.delete(f"/apps/{app_id}")
    if as_json:
        context.emit(answer)
    context.say(f"app {app_id} removed", "green")
