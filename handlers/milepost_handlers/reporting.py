"""Serves a call that nobody waits for; a report that cannot be sent fails the invocation, and Lambda tells of that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from milepost import App
from milepost.protocol import Response
from milepost.serving import budget_of, read_event, run_on_app_loop
from milepost_engine.runs.checkpoints import CheckpointWriter
from milepost_engine.runs.reporter import Reporter
from milepost_engine.store.messages import CallToken

from .direct_state import DirectStateStore
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
    reporter = Reporter(stores.runs, stores.blobs, stores.queue, stores.clock, stores.random_source)

    async def call(checkpointer: CheckpointWriter) -> Response:
        request = read_event(event)
        kept = DirectStateStore(token.run, token.fn, checkpointer)
        answer = await app.handle(request, checkpointer=kept, state_store=kept, budget=budget_of(context))
        return Response(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.body)

    token = CallToken.read(told)
    reported = run_on_app_loop(reporter.serve(token, call, lambda: context.get_remaining_time_in_millis() / 1000))
    return {"reported": reported}
