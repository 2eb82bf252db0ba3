"""The JSON API answers as its own description says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from milepost import App, Context
from milepost_console.server import models

from .served import Served, served, until


def story() -> App:
    app = App("story")

    @app.function(id="f", trigger="go", retries=0)
    async def f(ctx: Context) -> str:
        await ctx.step.run("one", lambda: 1)
        await ctx.step.sleep("nap", "10ms")
        if ctx.event.data.get("bad"):
            raise ValueError("broken")
        found = await ctx.step.wait_for_event("signal", "signal", timeout="1h")
        return "found" if found else ""

    app.webhook("hook", secret="s")(lambda _: None)
    return app


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served(story()) as made:
        made.send({"name": "go"}, {"name": "go", "data": {"bad": True}})
        until(lambda: len(made.runs(status="Failed")) == 1)
        until(lambda: any(row["status"] == "Running" for row in made.runs()))
        yield made


def test_every_address_is_described_with_a_summary_and_an_error_shape(server: Served):
    described = server.get("/api/openapi.json")
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }
    named = {
        "GET /api/runs/{run_id}",
        "GET /api/runs/{run_id}/logs",
        "POST /api/runs/bulk",
        "POST /e/{key}",
        "POST /webhooks/{name}",
        "GET /api/stream",
    }
    assert named <= operations.keys()
    assert [name for name, operation in operations.items() if not operation.get("summary")] == []
    assert "Problem" in described["components"]["schemas"]
    assert "X-Milepost" in described["info"]["description"]


def fields(model: type[BaseModel], answer: dict[str, Any]) -> None:
    """The answer fits the model, and has nothing that the model does not name."""
    model.model_validate(answer)
    assert set(answer) - set(model.model_fields) == set(), model.__name__


def test_answers_have_the_shapes_that_are_described(server: Served):
    listed = server.get("/api/runs")
    fields(models.RunList, listed)
    for row in listed["runs"]:
        fields(models.RunRow, row)
        run = server.get(f"/api/runs/{row['run_id']}")
        fields(models.RunDetail, run)
        for span in run["trace"]:
            fields(models.Span, span)
            for tried in span["attempts"]:
                fields(models.Attempt, tried)
    events = server.get("/api/events")
    fields(models.EventList, events)
    fields(models.EventDetail, server.get(f"/api/events/{events['events'][0]['event_id']}"))
    fields(models.FunctionDetail, server.get("/api/functions/story-f"))
    [function] = server.get("/api/functions")["functions"]
    fields(models.FunctionRow, function)
    [app] = server.get("/api/apps")["apps"]
    fields(models.AppRow, app)
    assert app["webhooks"] == ["hook"]
    fields(models.Problem, server.ask("GET", "/api/runs/nothing").json())


def test_a_preview_counts_and_names_the_runs_of_a_filter_and_changes_nothing(server: Served):
    body = {"action": "cancel", "filter": {"function": ["story-f"]}, "dry_run": True}
    preview = server.post("/api/runs/bulk", body)
    fields(models.BulkResult, preview)
    # Only what lives can be cancelled.
    assert (preview["count"], len(preview["run_ids"]), preview["done"]) == (1, 1, [])
    assert server.runs(status="Cancelled") == []
    replay = server.post("/api/runs/bulk", {"action": "replay", "filter": {"status": ["failed"]}, "dry_run": True})
    assert replay["count"] == 1


def test_of_many_runs_each_that_cannot_be_changed_is_named_with_a_code_and_the_others_are_changed(server: Served):
    [failed] = server.runs(status="Failed")
    body = {"action": "replay", "run_ids": [failed["run_id"], "nothing"], "data": {"bad": True}}
    done = server.post("/api/runs/bulk", body)
    assert len(done["done"]) == 1
    assert [(each["run_id"], each["code"]) for each in done["failed"]] == [("nothing", "MP301")]
    until(lambda: len(server.runs(status="Failed", origin=failed["run_id"])) == 1)
