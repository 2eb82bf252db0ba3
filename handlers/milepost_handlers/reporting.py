"""Serves a call that nobody waits for; a report that cannot be sent fails the invocation, and Lambda tells of that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from milepost import App
from milepost._lambda import budget_of, read_event, run_at_home
from milepost_engine.checkpoints import Saver
from milepost_engine.ports import Response
from milepost_engine.reporter import Reporter
from milepost_engine.reports import Slip

from .app import Kept
from .store import RunStores

__all__ = ["run_and_report"]


def run_and_report(
    app: App, event: Mapping[str, Any], context: Any, told: Mapping[str, Any], stores: RunStores
) -> dict[str, bool]:
    """What is returned is for whoever invokes the Lambda by hand: Lambda itself drops it."""
    if stores.queue is None:
        raise LookupError(
            "[MP507] MILEPOST_QUEUE_URL is not set, so the app cannot report what its functions answer. MilepostApp "
            "sets it for an app whose timeout is longer than longest_invocation: deploy the app with it."
        )
    reporter = Reporter(stores.runs, stores.blobs, stores.queue, stores.clock, stores.chance)

    async def call(saver: Saver) -> Response:
        request = read_event(event)
        kept = Kept(slip.run, slip.fn, saver)
        answer = await app.handle(request, checkpointer=kept, keeper=kept, budget=budget_of(context))
        return Response(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.body)

    slip = Slip.read(told)
    reported = run_at_home(reporter.serve(slip, call, lambda: context.get_remaining_time_in_millis() / 1000))
    return {"reported": reported}
