"""Serves an asynchronous invocation. If its report cannot be sent, it fails and Lambda reports the failure."""

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
    app: App, event: Mapping[str, Any], context: Any, fields: Mapping[str, Any], stores: RunStores
) -> dict[str, bool]:
    """Serve the call and report its answer. Lambda drops the return value; it helps when invoking by hand."""
    if stores.queue is None:
        raise LookupError(
            "[MP507] MILEPOST_QUEUE_URL is not set, so the app cannot report the answers of its functions. "
            "MilepostApp sets it for apps whose timeout exceeds longest_invocation: deploy the app with MilepostApp."
        )
    reporter = Reporter(stores.runs, stores.blobs, stores.queue, stores.clock, stores.random_source)

    async def call(checkpointer: CheckpointWriter) -> Response:
        request = read_event(event)
        kept = DirectStateStore(token.run, token.fn, token.owner, checkpointer)
        answer = await app.handle(
            request, checkpointer=kept, state_store=kept, budget=budget_of(context), authenticated=True
        )
        return Response(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.body)

    token = CallToken.read(fields)
    reported = run_on_app_loop(reporter.serve(token, call, lambda: context.get_remaining_time_in_millis() / 1000))
    return {"reported": reported}
